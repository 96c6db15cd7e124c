package osl

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"

	"github.com/seed59451c2b/osl/internal/engine"
)

// Namespace is an open sandbox. It implements [Sandbox]. While it is open it
// holds a descriptor, its netlink socket, one more from the first call on that
// enters the sandbox or needs its namespace, one from the second Info on, and no
// thread or goroutine. The sandbox itself lives on at its key when the handle is
// closed or the process ends.
type Namespace struct {
	e    *engine.Namespace
	info atomic.Pointer[info] // what Info returned last
}

var _ Sandbox = (*Namespace)(nil)

// opened returns what the engine opened. The zero Namespace is a closed one.
func (n *Namespace) opened() *engine.Namespace {
	if n.e == nil {
		return &engine.Namespace{}
	}
	return n.e
}

// handle returns what the engine opened.
func handle(e *engine.Namespace, err error) (*Namespace, error) {
	if err != nil {
		return nil, public(err)
	}
	return &Namespace{e: e}, nil
}

// Create makes a sandbox with a new network namespace and pins it at the key
// of name, see [KeyPath]. It has its loopback up and IPv6 off. Create returns
// ErrExists if there is one. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func Create(ctx context.Context, name string, options ...CreateOption) (*Namespace, error) {
	var c creation
	for _, o := range options {
		if o != nil {
			o(&c)
		}
	}
	return handle(engine.Create(ctx, name, c.labels))
}

// CreateOption is an option of [Create].
type CreateOption func(*creation)

type creation struct{ labels map[string]string }

// WithLabels gives the sandbox labels from the first moment on: Spec.Labels says what
// they are. Those that take too much room are ErrInvalid.
func WithLabels(labels map[string]string) CreateOption {
	return func(c *creation) { c.labels = maps.Clone(labels) }
}

// Open opens the sandbox at the key of name, see [KeyPath], whoever made it.
// Where a process died in the middle of a change, Open first puts back what it
// left half done; otherwise it writes nothing. It returns ErrNotFound if there
// is no such file and ErrNotNamespace if it is something else.
func Open(ctx context.Context, name string) (*Namespace, error) {
	return handle(engine.Open(ctx, name))
}

// Adopt is [GetSandboxForExternalKey] for who has a container: at leads to its network
// namespace, such as /proc/PID/ns/net, and name to the key at which it is pinned, see
// [KeyPath]. owner says whose it is, in words of the caller's, of up to some hundred
// bytes: any process finds it in [Status], and so knows its own. It may be empty.
func Adopt(ctx context.Context, at, name, owner string, options ...AdoptOption) (*Namespace, error) {
	var a adoption
	for _, o := range options {
		if o != nil {
			o(&a)
		}
	}
	return handle(engine.Adopt(ctx, at, name, owner, a.asItIs))
}

// AdoptOption is an option of [Adopt].
type AdoptOption func(*adoption)

type adoption struct{ asItIs bool }

// WithoutDefaults leaves the settings of the namespace as they are, where Adopt else
// turns off the IPv6 of one that does not use it: lo keeps ::1. It is for who has been
// told already what the namespace is to have, as a runtime by a container's sysctls. An
// interface without an IPv6 address has its own IPv6 off all the same.
func WithoutDefaults() AdoptOption { return func(a *adoption) { a.asItIs = true } }

// Remove destroys the sandbox at the key of name, see [KeyPath]: what came
// from the host goes home first. A key whose namespace is gone already is
// removed. It returns ErrNotFound if there is nothing.
//
// From a namespace that another program made, osl takes out what it put in, and
// leaves it at its key, unless told to end it: [WithForce]. Of the host's own
// namespace the links that osl configured get back what they had.
func Remove(ctx context.Context, name string, options ...RemoveOption) error {
	return public(engine.Remove(ctx, name, removalOf(options).force))
}

// RemoveOption is an option of [Remove] and [Down].
type RemoveOption func(*removal)

type removal struct{ force bool }

// WithForce also takes the key of a namespace away that another program made.
// Without it osl takes out what it put in, and leaves the namespace at its key.
// The namespace ends where nothing else holds it. A key in /proc stays.
func WithForce() RemoveOption { return func(r *removal) { r.force = true } }

func removalOf(options []RemoveOption) (r removal) {
	for _, o := range options {
		if o != nil {
			o(&r)
		}
	}
	return r
}

// Recover opens the sandbox at the key of name as Open does and puts back what
// a process that died left half done. Nothing to do is no error, nor is a
// sandbox that was itself half made: it is removed, and what came from the
// host goes home; so is a key that never got a namespace, or lost it.
func Recover(ctx context.Context, name string) error {
	return public(engine.Recover(ctx, name))
}

// RecoverHost puts right what a process that died, or a namespace that ended
// without osl, left on the host: a physical device that the kernel brought back
// under the name that it had inside gets its first name and settings again, and
// a change of the host that was interrupted is taken back. Nothing to do is no
// error. A device whose first name is taken meanwhile keeps the one it has, and
// the error says so.
func RecoverHost(ctx context.Context) error {
	return public(engine.RecoverHost(ctx))
}

// Key returns the path where the network namespace is mounted.
func (n *Namespace) Key() string {
	return n.opened().Key()
}

// Name returns the key's name in the base path, or the key.
func (n *Namespace) Name() string { return n.opened().Name() }

// Close closes the handle and leaves the sandbox as it is. A second Close does
// nothing.
func (n *Namespace) Close() error {
	return public(n.opened().Close())
}

// Destroy sends the links that came from the host home, in one batch, and
// removes the sandbox with everything that osl made in it. It succeeds where
// the sandbox is gone already. If a link can not go home, the sandbox stays.
//
// When it returns, the other ends of its links are gone too, on the host and in
// other sandboxes, and what osl made there on a link of the host; TCP and UDP sockets
// have ended, of whatever process: of a sandbox that had no link but lo, and was made by
// this handle, those of this process. Where other
// handles of the sandbox are open, in this process or another, or a process is
// in it, the kernel keeps the rest of what osl made there until they are closed.
//
// A link is home also where its driver refuses to take something back that it
// had, such as a hardware address: that is logged, with the command that sets it.
//
// A namespace that another program made stays, with its key and what else is in
// it; so does the host's own. Destroy takes out what osl put in, of the host's what it
// was asked for by this key, and unpins a key at which osl pinned it
// ([GetSandboxForExternalKey], [NewSandbox]).
func (n *Namespace) Destroy() error {
	return public(n.opened().Destroy())
}

// InvokeFunc runs f in the sandbox; see [Sandbox].
func (n *Namespace) InvokeFunc(f func()) error {
	return public(n.opened().InvokeFunc(f))
}

// Enter takes the calling goroutine into the sandbox, until it calls leave. It is what
// InvokeFunc does, for who keeps its rules: half of the time, since nothing is looked
// at. The goroutine is locked to its thread meanwhile. leave is called once, by the same
// goroutine, and brings the thread to the host's namespace: so it must have been there
// before, and not in another sandbox. Goroutines that it starts meanwhile are not in
// the sandbox, and in the body of an iter.Pull it does not yield meanwhile. That the
// sandbox was removed from its key goes unnoticed; a handle that was closed is
// ErrClosed.
//
// A caller that is on the process's main thread goes on on another; if it is locked to
// that, Enter returns ErrInvalid. If leave can not bring the thread back it returns an
// error; the thread ends, and the caller is on another, unless it had locked itself to
// that one before.
func (n *Namespace) Enter() (leave func() error, err error) {
	out, err := n.opened().Enter()
	if err != nil {
		return nil, public(err)
	}
	return func() error { return public(out()) }, nil
}

// DialContext connects from within the sandbox, as [net.Dialer] does from without: to
// tcp, udp, ip and unix addresses (of unix, those without a file are the sandbox's
// own). It can be given to what dials by a function, such as http.Transport. Only
// making the socket is done in the sandbox; what is returned is a connection of package
// net as any other, for any goroutine.
//
// A name is looked up in the hosts file and asked of the name servers that
// /etc/netns/NAME/hosts and resolv.conf say, where these are there, else /etc/hosts and
// /etc/resolv.conf. Of several addresses those with a route come first, and IPv6 before
// IPv4, which is tried as well after 300 ms (RFC 8305). The index stands for the name of
// a zone, as in fe80::1%eth0, in what the connection says of its addresses.
//
// The errors are of type *net.OpError; behind it is [ErrClosed] where the sandbox is
// gone. When osl destroys a sandbox, in whichever process, the TCP and UDP sockets that
// are there end, connections with syscall.ECONNABORTED, where the kernel can do that
// ([Namespace.Destroy] has the exception); those of ip and unix stay. It needs CAP_SYS_ADMIN
// over the process's user namespace.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return n.opened().Inside(public).Dial(ctx, network, address)
}

// Listen listens in the sandbox as net.Listen does; names, errors and needs are as with
// DialContext. Accept waits without a thread.
func (n *Namespace) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return n.opened().Inside(public).Listen(ctx, network, address)
}

// ListenPacket listens in the sandbox as net.ListenPacket does; names, errors and needs
// are as with DialContext.
func (n *Namespace) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return n.opened().Inside(public).ListenPacket(ctx, network, address)
}

// Dialer returns a dialer that makes its sockets in the sandbox, for who wants a
// *net.Dialer, or sets what DialContext leaves as it is: a local address, a timeout,
// keep-alive. It looks names up by [Namespace.Resolver], with what that says of the
// process's own files, and takes the name of a zone, as in fe80::1%eth0, for a link of
// the process's network: give it the index. Its ControlContext puts the sandbox's socket
// in place: a function of the caller's own calls that one first.
func (n *Namespace) Dialer() *net.Dialer { return n.opened().Inside(public).Dialer() }

// ListenConfig returns one that makes its sockets in the sandbox; Dialer says what for.
// Its Control is as Dialer's ControlContext. Multipath TCP is off unless the caller
// turns it on. It has no place for a resolver: a name to listen on is looked up by the
// process, in its own network; Listen looks it up in the sandbox.
func (n *Namespace) ListenConfig() *net.ListenConfig {
	return n.opened().Inside(public).ListenConfig()
}

// LookupNetIP returns the addresses of a host, of the network "ip", "ip4" or "ip6", by
// the sandbox's files as DialContext has it: nothing of the process's own is read where
// the sandbox has a file. The errors are of type *net.DNSError; [ErrClosed] is behind
// them, or they are it, where the sandbox is gone.
func (n *Namespace) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return n.opened().Inside(public).Lookup(ctx, network, host)
}

// Resolver returns a resolver for all kinds of look-ups. Its questions are answered by
// /etc/netns/NAME/hosts, names and addresses, and asked of the name servers of
// /etc/netns/NAME/resolv.conf, with the domains that this says, where these files are
// there; else of the process's own name servers. All are asked from the sandbox.
//
// Some of a *net.Resolver is the process's, and package net has no way to change that.
// It reads nsswitch.conf and, where this has files before dns as is usual, /etc/hosts,
// before it asks: a name or an address that is there is answered from there, whatever
// the sandbox's file says. To a name it appends the domains of its own resolv.conf, and
// asks for these first where the name has no dot; its own timeout and attempts hold as
// well. A name that ends in a dot is taken for one without, and its errors do not have
// [ErrClosed] behind them. All this is not so of LookupNetIP and DialContext.
func (n *Namespace) Resolver() *net.Resolver { return n.opened().Inside(public).Resolver() }

// Socket makes a socket of any kind in the sandbox, with the numbers of package syscall:
// raw, packet, netlink. It does not block and is not inherited; as an *os.File it takes
// deadlines, and net.FileConn or net.FilePacketConn makes a connection of one that
// package net knows. What it needs beside CAP_SYS_ADMIN is the kernel's affair, whose
// refusal is an *os.SyscallError; where the sandbox is gone it is ErrClosed.
func (n *Namespace) Socket(domain, typ, proto int) (*os.File, error) {
	return n.opened().Inside(public).Socket(domain, typ, proto)
}

// Command returns a command that starts in the sandbox: an exec.Cmd as any other, with
// fields that are the caller's, which any goroutine may start. Path and the first four
// of Args are of the way in, a page of code that enters the sandbox at its key and then
// becomes the command; what is appended to Args is the command's. If the sandbox is
// gone when the command is started, it says so on standard error and exits with 125;
// with 126 if the kernel does not run the command, with 127 if it, or its interpreter, is
// not there. A sandbox that was made at the key meanwhile is entered. A name that is no
// program's is the Cmd's Err, as with package os/exec, and so is ErrClosed where the
// sandbox is gone already.
//
// The way in needs the rights that the process has: a SysProcAttr that takes them
// (Credential, a user namespace, Chroot) is for a command that is started by
// [Namespace.Do]: cmd.Start within f. Elsewhere than on amd64 and arm64 all are.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return n.opened().Command(ctx, public, false, name, args)
}

// CommandWithMounts is as Command, with the file systems that ip netns exec gives a
// command: /sys shows the sandbox's network, and the files of /etc/netns/NAME are over
// those of /etc. The mount namespace is made with the first call, and is one for all
// commands of this handle, which holds a descriptor of it until Close: that comes after
// the last Start. If it can not be made, the error is the Cmd's Err.
func (n *Namespace) CommandWithMounts(ctx context.Context, name string, args ...string) *exec.Cmd {
	return n.opened().Command(ctx, public, true, name, args)
}

// Do runs f in the sandbox, on the caller's thread as [Namespace.InvokeFunc] does, and
// returns f's error as it is. A ctx that is done keeps it from being run, with ctx's
// error; later it is f's affair. Where the sandbox is gone it is ErrClosed, and without an
// f ErrInvalid.
func (n *Namespace) Do(ctx context.Context, f func(context.Context) error) error {
	return public(n.opened().Do(ctx, f))
}

// File returns a descriptor of the network namespace, for setns and what takes one. It
// keeps the namespace, and is the caller's to close. Where the sandbox is gone it is
// ErrClosed.
func (n *Namespace) File() (*os.File, error) {
	f, err := n.opened().File()
	return f, public(err)
}

// OpenTun opens a queue of the tun or tap with a name, made by osl or others, for a VMM
// or a stack in user space: each read is a packet, of a tap with its Ethernet header,
// without another header. It takes deadlines, and stays of use when the handle is
// closed. It does not wait by itself (O_NONBLOCK): for a program that is handed the
// descriptor, and waits in read, take that away with syscall.SetNonblock. It needs
// /dev/net/tun, and returns ErrNotFound where there is no such link, ErrInvalid where it is
// something else. While another has a device of one queue open the error is syscall.EBUSY.
func (n *Namespace) OpenTun(name string) (*os.File, error) {
	f, err := n.opened().OpenTun(name)
	return f, public(err)
}

// Pool makes network namespaces beforehand, so that a sandbox is had for the
// price of a mount: most of the time of making one goes into the namespace. What
// it holds is known to this process alone, and ends with it.
//
// The zero Pool keeps none ready.
type Pool struct{ p engine.Pool }

// NewPool returns a pool that keeps up to size namespaces ready, and begins to
// fill it in the background. Each holds two descriptors. Close ends the pool.
func NewPool(size int) *Pool {
	p := &Pool{}
	p.p.Start(size)
	return p
}

// Create is as the function [Create], with a namespace of the pool, or a new one
// where none is ready. After Close it returns ErrClosed.
func (p *Pool) Create(ctx context.Context, name string) (*Namespace, error) {
	return handle(p.p.Create(ctx, name))
}

// Wait returns when the pool is full, or can not be filled at the moment.
func (p *Pool) Wait() {
	p.p.Wait()
}

// Close ends the pool and the namespaces in it, and waits for that. Sandboxes
// that were made with it stay.
func (p *Pool) Close() error {
	return public(p.p.Close())
}
