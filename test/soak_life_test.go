//go:build linux

package osltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/types"
)

// sharedKeys are those that all processes of the soak fight for.
var sharedKeys = []string{"soak-a", "soak-b"}

// life is one cycle of the soak: a sandbox of its own, with a link or two, that
// is used and destroyed.
type life struct {
	s *soaker
	n int
}

func (l *life) check(what string, err error) bool {
	if err != nil {
		l.s.problem("cycle %d: %s: %v", l.n, what, err)
	}
	return err == nil
}

// fails demands an error, and that it is the right one.
func (l *life) fails(what string, err, want error) {
	if err == nil || want != nil && !errors.Is(err, want) {
		l.s.problem("cycle %d: %s: the error is %v, and not: %v", l.n, what, err, want)
	}
}

func (l *life) run() {
	if l.n%10 == 5 {
		key := osl.GenerateKey(sharedKeys[l.n/10%len(sharedKeys)])
		for _, p := range contend(key, fmt.Sprintf("p%dn%d", l.s.id, l.n), 1) {
			// On a machine that has no time one of four may wait for longer than anybody does;
			// that who waits has its turn is asked by TestReq5.
			if strings.Contains(p, netns.ErrBusy.Error()) {
				fmt.Printf("figure: cycle %d: %s: %s\n", l.n, key, p)
				continue
			}
			l.s.problem("cycle %d: %s: %s", l.n, key, p)
		}
		return
	}
	ctx := context.Background()
	name := fmt.Sprintf("p%dn%d", l.s.id, l.n)
	sb, err := create(ctx, name)
	if !l.check("Create", err) {
		return
	}
	var other *osl.Namespace
	if l.n%4 == 0 {
		if other, err = create(ctx, name+"b"); !l.check("Create the other one", err) {
			return
		}
	}
	l.links(ctx, sb, other)
	l.use(sb)
	if l.n%10 == 0 {
		l.s.failed.Add(1)
		l.failing(ctx, sb)
	}
	l.reopen(ctx, sb)
	for _, n := range []*osl.Namespace{sb, other} {
		if n == nil {
			continue
		}
		l.check("Destroy", n.Destroy())
		if _, err := os.Lstat(n.Key()); !errors.Is(err, os.ErrNotExist) {
			l.s.problem("cycle %d: the key %s after Destroy: %v", l.n, n.Key(), err)
		}
	}
	if l.moves() {
		home, err := netlink.LinkByName("m" + name)
		if l.check("the link that went home", err) {
			l.check("delete the link that went home", netlink.LinkDel(home))
		}
	}
}

// moves reports whether the cycle moves a link of the host: that takes the
// kernel long, so few do.
func (l *life) moves() bool { return l.n%16 == 3 }

func (l *life) links(ctx context.Context, sb, other *osl.Namespace) {
	name := fmt.Sprintf("p%dn%d", l.s.id, l.n)
	eth := osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "h" + name},
		Addresses: prefixList("10.1.0.2/24", "fd01::2/64"), Routes: prefixList("10.50.0.0/16")}
	if other != nil {
		eth.Peer = osl.Endpoint{Sandbox: other.Key(), Interface: "far"}
	}
	l.check("AddLink", sb.AddLink(ctx, eth))
	if l.n%3 == 0 {
		l.check("AddLink", sb.AddLink(ctx, osl.InterfaceSpec{Name: "br0", Type: "bridge", Addresses: prefixList("10.2.0.1/24")}))
	}
	if l.moves() {
		if l.check("make a link", netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs("m" + name), PeerName: "n" + name})) {
			l.check("AddInterface", sb.AddInterface("m"+name, "net", addresses("10.3.0.2/24")))
		}
	}
}

func (l *life) use(sb *osl.Namespace) {
	l.check("SetGateway", sb.SetGateway(ip("10.1.0.1")))
	l.check("SetGatewayIPv6", sb.SetGatewayIPv6(ip("fd01::1")))
	r := &types.StaticRoute{Destination: ipnet("10.60.0.0/16"), RouteType: types.NEXTHOP, NextHop: ip("10.1.0.9")}
	l.check("AddStaticRoute", sb.AddStaticRoute(r))
	if l.n%2 == 0 {
		l.check("RemoveStaticRoute", sb.RemoveStaticRoute(r))
		l.check("UnsetGateway", sb.UnsetGateway())
	}
	hw := mac("02:00:00:00:00:09")
	l.check("AddNeighbor", sb.AddNeighbor(ip("10.1.0.9"), hw, false, sb.NeighborOptions().LinkName("eth0")))
	l.check("AddNeighbor", sb.AddNeighbor(ip("fd01::9"), hw, true))
	l.check("DeleteNeighbor", sb.DeleteNeighbor(ip("fd01::9"), hw, true))
	l.check("AddAliasIP", sb.AddAliasIP("lo", ipnet("10.9.9.9/32")))
	l.check("DisableARPForVIP", sb.DisableARPForVIP("eth0"))
	var there, key unix.Stat_t
	l.check("InvokeFunc", sb.InvokeFunc(func() { _ = unix.Stat("/proc/thread-self/ns/net", &there) }))
	l.check("stat", unix.Stat(sb.Key(), &key))
	if there.Ino != key.Ino {
		l.s.problem("cycle %d: InvokeFunc ran in another namespace", l.n)
	}
	for _, i := range sb.Info().Interfaces() {
		_, err := i.Statistics()
		l.check("Statistics", err)
	}
}

// state is all that a sandbox holds, as text.
func (l *life) state(sb *osl.Namespace) string {
	s, err := sb.Inspect(context.Background())
	if !l.check("Inspect", err) {
		return ""
	}
	for i := range s.Interfaces {
		s.Interfaces[i].Carrier = false
		var own []netip.Prefix // the kernel's own come when it likes
		for _, a := range s.Interfaces[i].Addresses {
			if !a.Addr().IsLinkLocalUnicast() {
				own = append(own, a)
			}
		}
		s.Interfaces[i].Addresses, s.Interfaces[i].Others = own, nil
	}
	s.OtherRoutes = nil // of the addresses, those that the kernel makes included
	b, err := json.Marshal(s)
	l.check("Inspect", err)
	return string(b)
}

func (l *life) reopen(ctx context.Context, sb *osl.Namespace) {
	again, err := osl.Open(ctx, sb.Key())
	if !l.check("Open", err) {
		return
	}
	if a, b := infoText(sb.Info()), infoText(again.Info()); a != b {
		l.s.problem("cycle %d: opened again Info is %q and was %q", l.n, b, a)
	}
	l.check("Close", again.Close())
}

// failing makes a call fail; the sandbox must be as before.
func (l *life) failing(ctx context.Context, sb *osl.Namespace) {
	before := l.state(sb)
	spare := osl.InterfaceSpec{Name: "spare", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: fmt.Sprintf("s%dn%d", l.s.id, l.n)}}
	switch kind := l.n / 10 % 9; kind {
	case 0:
		spare.Master = "nosuch"
		l.fails("a master that is not there", sb.AddLink(ctx, spare), osl.ErrNotFound)
	case 1:
		spare.Name = "eth0"
		l.fails("a name in use", sb.AddLink(ctx, spare), osl.ErrNameInUse)
	case 2:
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		l.fails("a cancelled context", sb.AddLink(ctx, spare), nil)
	case 3:
		l.fails("an unreachable gateway", sb.SetGateway(ip("192.0.2.1")), osl.ErrUnreachable)
	case 4:
		func() {
			defer func() {
				if r := recover(); r != "for the caller" {
					l.s.problem("cycle %d: the panic is %v", l.n, r)
				}
			}()
			_ = sb.InvokeFunc(func() { panic("for the caller") })
		}()
	case 5:
		_, err := osl.Create(ctx, "soak-taken")
		l.fails("a key that another process has", err, osl.ErrExists)
	case 6:
		name := fmt.Sprintf("p%dn%df", l.s.id, l.n)
		spare.Addresses = prefixList("10.1.0.2/24")
		_, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: name, Interfaces: []osl.InterfaceSpec{spare}, Gateway: netip.MustParseAddr("192.0.2.1")}}})
		l.fails("a network with an unreachable gateway", err, osl.ErrUnreachable)
		_, err = osl.Open(ctx, name)
		l.fails("a sandbox of a network that failed", err, osl.ErrNotFound)
	case 7:
		spare.Peer.Interface = "lo"
		l.fails("a name in use on the host", sb.AddLink(ctx, spare), osl.ErrNameInUse)
	case 8:
		l.fails("a link that is not there", sb.AddInterface("nosuch", "eth"), osl.ErrNotFound)
	}
	if after := l.state(sb); after != before {
		l.s.problem("cycle %d: after a failure the sandbox is\n%s\nand was\n%s", l.n, after, before)
	}
	if _, err := netlink.LinkByName(spare.Peer.Interface); err == nil && spare.Peer.Interface != "lo" {
		l.s.problem("cycle %d: a failure left %s on the host", l.n, spare.Peer.Interface)
	}
}

// create waits where the kernel allows no more namespaces: it gives those back
// that are gone a little later. A leak it never gives back.
func create(ctx context.Context, name string) (n *osl.Namespace, err error) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n, err = osl.Create(ctx, name)
		if !errors.Is(err, unix.ENOSPC) || time.Now().After(end) {
			return n, err
		}
	}
}
