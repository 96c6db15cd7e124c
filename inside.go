package osl

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

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
// are there end, connections with syscall.ECONNABORTED, where the kernel can do that. It
// needs CAP_SYS_ADMIN over the process's user namespace.
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
// keep-alive. It looks names up by [Namespace.Resolver]. Its ControlContext puts the
// sandbox's socket in place: a function of the caller's own calls that one first.
func (n *Namespace) Dialer() *net.Dialer { return n.opened().Inside(public).Dialer() }

// ListenConfig returns one that makes its sockets in the sandbox; Dialer says what for.
// Its Control is as Dialer's ControlContext. Multipath TCP is off unless the caller
// turns it on.
func (n *Namespace) ListenConfig() *net.ListenConfig {
	return n.opened().Inside(public).ListenConfig()
}

// Resolver returns a resolver whose questions go through the sandbox's network, to the
// name servers of /etc/netns/NAME/resolv.conf where that is there. Package net reads
// the process's own /etc/hosts before that, and appends the domains of its own
// resolv.conf; DialContext does neither where the sandbox has such files.
func (n *Namespace) Resolver() *net.Resolver { return n.opened().Inside(public).Resolver() }

// Socket makes a socket of any kind in the sandbox, with the numbers of package syscall:
// raw, packet, netlink. It does not block and is not inherited; as an *os.File it takes
// deadlines, and net.FileConn or net.FilePacketConn makes a connection of one that
// package net knows. What it needs beside CAP_SYS_ADMIN is the kernel's affair.
func (n *Namespace) Socket(domain, typ, proto int) (*os.File, error) {
	return n.opened().Inside(public).Socket(domain, typ, proto)
}

// Command returns a command that starts in the sandbox: an exec.Cmd as any other, with
// fields that are the caller's, which any goroutine may start. Path and the first four
// of Args are of the way in, a page of code that enters the sandbox at its key and then
// becomes the command; what is appended to Args is the command's. If the sandbox is
// gone when the command is started, it says so on standard error and exits with 125;
// with 126 if the kernel does not run the command, with 127 if it, or its interpreter, is not there.
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
// returns f's error as it is. A ctx that is done keeps it from being run; later it is
// f's affair.
func (n *Namespace) Do(ctx context.Context, f func(context.Context) error) error {
	return public(n.opened().Do(ctx, f))
}

// File returns a descriptor of the network namespace, for setns and what takes one. It
// keeps the namespace, and is the caller's to close.
func (n *Namespace) File() (*os.File, error) {
	f, err := n.opened().File()
	return f, public(err)
}

// Name returns the key's name in the base path, or the key.
func (n *Namespace) Name() string { return n.opened().Name() }

// Statistics reads the counters of all interfaces, by their names in the sandbox.
func (n *Namespace) Statistics(ctx context.Context) (map[string]types.InterfaceStatistics, error) {
	all, err := n.opened().AllStatistics(ctx)
	if err != nil {
		return nil, public(err)
	}
	there := make(map[string]types.InterfaceStatistics, len(all))
	for name, s := range maps.All(all) {
		there[name] = statistics(s)
	}
	return there, nil
}

// WaitFor returns when f holds for what the sandbox holds: at once, or after a change
// of it, see [Namespace.Watch], which also says which errors end it.
func (n *Namespace) WaitFor(ctx context.Context, f func(*Status) bool) error {
	for st, err := range n.Watch(ctx) {
		if err != nil {
			return err
		}
		if f(st) {
			return nil
		}
	}
	return nil
}

// AddRoute adds a static route. One that is there already is no error.
func (n *Namespace) AddRoute(ctx context.Context, r RouteSpec) error {
	return n.AddRoutes(ctx, slices.Values([]RouteSpec{r}))
}

// RemoveRoute takes a static route away. One that is not there is no error.
func (n *Namespace) RemoveRoute(ctx context.Context, r RouteSpec) error {
	return n.RemoveRoutes(ctx, slices.Values([]RouteSpec{r}))
}

// AddAddress adds an alias IP to an interface; see [Namespace.AddAddresses].
func (n *Namespace) AddAddress(ctx context.Context, ifName string, a netip.Prefix) error {
	return n.AddAddresses(ctx, ifName, slices.Values([]netip.Prefix{a}))
}

// RemoveAddress takes an address away; see [Namespace.RemoveAddresses].
func (n *Namespace) RemoveAddress(ctx context.Context, ifName string, a netip.Prefix) error {
	return n.RemoveAddresses(ctx, ifName, slices.Values([]netip.Prefix{a}))
}

// LinkChange is what SetLink changes of a link. The zero value of a field leaves that
// as it is.
type LinkChange struct {
	// Name is the new name. It takes a call of its own.
	Name string
	// MTU in bytes.
	MTU int
	// MAC is the hardware address.
	MAC MAC
	// TxQueueLen is the length of the transmit queue in packets.
	TxQueueLen *int
	// Up sets the link up or down. With down go the link's IPv4 routes and IPv6
	// addresses, as with ip link set down; up does not bring them back, Apply does.
	Up *bool
}

// SetLink changes the link that is named name inside the sandbox, all of c or nothing;
// it may be one that osl did not make. A network that is applied later has the last
// word. It returns ErrNotFound where there is no such link, ErrNameInUse where the new
// name is taken, and ErrInvalid for an MTU that the link can not have, and for a new name
// together with something else.
func (n *Namespace) SetLink(ctx context.Context, name string, c LinkChange) error {
	return public(n.opened().SetLink(ctx, name, rtnl.LinkSet{
		Name: c.Name, MTU: c.MTU, MAC: net.HardwareAddr(c.MAC), TxQLen: c.TxQueueLen, Up: c.Up}))
}

// OpenTun opens a queue of the tun or tap with a name, made by osl or others, for a VMM
// or a stack in user space: each read is a packet, of a tap with its Ethernet header,
// without another header. It takes deadlines, and stays of use when the handle is
// closed. It needs /dev/net/tun, and returns ErrNotFound where there is no such link,
// ErrInvalid where it is something else. While another has a device of one queue open
// the error is syscall.EBUSY.
func (n *Namespace) OpenTun(name string) (*os.File, error) {
	f, err := n.opened().OpenTun(name)
	return f, public(err)
}
