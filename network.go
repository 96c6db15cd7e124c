package osl

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed59451c2b/osl/internal/engine"
)

// Apply brings the sandboxes of net, and the links between them, to what net
// says: all of it, or nothing. What is there already is left alone, so that a
// second Apply changes nothing; what osl made in these sandboxes and net does
// not mention any more is taken away; what others made there stays. It returns
// what it did.
func Apply(ctx context.Context, net Network) (Changes, error) {
	c, err := engine.Apply(ctx, net.wanted(), true)
	return changesOf(c), public(err)
}

// Add makes the interfaces of net in its sandboxes, which are there, with the links
// between them, routes, neighbors and settings: all of it, or nothing. What else is
// there stays. The sandbox [HostName] is the host's own namespace, in which a link can
// be made, but none moved in. It returns ErrNameInUse where a sandbox has a link of a
// name already; an interface without Type, Source and link is one that is there, and
// gets what it lacks. Names and labels are not looked at.
func Add(ctx context.Context, net Network) error {
	return public(engine.Add(ctx, net.wanted()))
}

// Diff returns what Apply would do, and does nothing.
func Diff(ctx context.Context, net Network) (Changes, error) {
	c, err := engine.Apply(ctx, net.wanted(), false)
	return changesOf(c), public(err)
}

// Apply brings the sandbox to what s says, as the function [Apply] does. The
// name in s is not used.
func (n *Namespace) Apply(ctx context.Context, s Spec) (Changes, error) {
	c, err := n.opened().Apply(ctx, s.wanted(), true)
	return changesOf(c), public(err)
}

// Diff returns what Apply would do, and does nothing.
func (n *Namespace) Diff(ctx context.Context, s Spec) (Changes, error) {
	c, err := n.opened().Apply(ctx, s.wanted(), false)
	return changesOf(c), public(err)
}

// Down destroys the sandboxes of net and the ends of its links on the host. Where
// net has a name that is all that carries it, whether or not net lists it: a name
// is enough. What is not there is passed over; a sandbox of another network is
// ErrExists. A namespace that another program made stays, without what osl put
// in; see [Remove]. It returns what it did.
func Down(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	c, err := engine.Down(ctx, net.wanted(), removalOf(options).force, true)
	return changesOf(c), public(err)
}

// DiffDown returns what Down would do, and does nothing.
func DiffDown(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	c, err := engine.Down(ctx, net.wanted(), removalOf(options).force, false)
	return changesOf(c), public(err)
}

// Changes are what Apply did, or what Diff and a dry run would do, in order.
type Changes []Change

// Change is one step.
type Change struct {
	// Sandbox is the name or key of the sandbox, "host" for the host.
	Sandbox string `json:"sandbox"`
	// Kind is ChangeMake where the sandbox itself is made, ChangeRemove where
	// it is removed, ChangeLeave where osl takes out of a namespace what it put
	// in and that stays, and ChangeEdit otherwise.
	Kind ChangeKind `json:"kind"`
	// Interface is the one that it is about, by its name inside; empty for what is of
	// the whole sandbox.
	Interface string `json:"interface,omitempty"`
	// Object is what is changed: sandbox, link, address, route, rule, neighbor, setting,
	// vlan, impairment, offloads, altname or masquerade.
	Object string `json:"object,omitempty"`
	// Before is what it was, in the words of the ip command: "10.0.0.2/24", "mtu 1500",
	// "ipv4.ip_forward=0". It is empty for what is new.
	Before string `json:"before,omitempty"`
	// After is what it is to be, empty for what is taken away.
	After string `json:"after,omitempty"`
	// Command does the same by the ip command. A step for which that takes several is a
	// Change for each, which say the same.
	Command string `json:"command"`
}

// ChangeKind is what a Change does to the sandbox as a whole.
type ChangeKind string

// The kinds of a Change.
const (
	ChangeEdit   ChangeKind = "edit"
	ChangeMake   ChangeKind = "make"
	ChangeRemove ChangeKind = "remove"
	ChangeLeave  ChangeKind = "leave"
)

// String returns the commands, a line each.
func (c Changes) String() string {
	var b strings.Builder
	for _, x := range c {
		fmt.Fprintln(&b, x.Command)
	}
	return b.String()
}

// changesOf returns what the engine did.
func changesOf(list []engine.Change) (c Changes) {
	for _, x := range list {
		c = append(c, Change{Sandbox: x.Sandbox, Kind: ChangeKind(x.Kind), Interface: x.Interface,
			Object: x.Object, Before: x.Before, After: x.After, Command: x.Command})
	}
	return c
}
