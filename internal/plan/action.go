package plan

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// HostNS stands for the host's namespace where a key is expected.
const HostNS = ""

// Op is one step of a plan, with what takes it back.
type Op struct {
	NS  string // key of the namespace that it acts in
	Dev string // the interface it is about
	Do  Action
	// Undo takes the step back, in this order. It can be run where the step
	// did not happen.
	Undo []Op
	// Half says that the step may have happened in part though it failed.
	Half bool
	// Unsupported is what takes a step back that the kernel has no support for: it says the
	// same of this, when it comes to what it did not do before.
	Unsupported bool
	// Last is a step that nothing takes back, and that can be done again: it
	// comes when all else is done, and is carried through.
	Last bool
	// Final clears the mark of a new sandbox.
	Final bool
	// Commit is the step with which the change has happened. What comes after it
	// only tidies up, and need not succeed: whoever finds it undone knows what it
	// means.
	Commit bool
	// Alone keeps a step from being sent with what comes before and after it: the
	// kernel would do that also where it refuses this.
	Alone bool
	// Apart begins a send: the step must not be done where one before it is refused.
	Apart bool
	// Gone says that the step is done where what it is about is gone.
	Gone bool
	// Quiet keeps bookkeeping out of the commands that a person is shown.
	Quiet bool
}

// IsMessage reports whether the step is a message, which can be sent together
// with those before and after it.
func (op *Op) IsMessage() bool {
	switch op.Do.(type) {
	case Message, ReadLink:
		return true
	}
	return false
}

// Action is what a step does. The executor knows the ones that are no Message.
type Action interface {
	// Command returns the command that does the same to the device dev, a
	// line each where it takes several, without the namespace and the word ip.
	// Names are quoted for a shell; shell.NS(key) stands for that of another namespace.
	Command(dev string) string
}

// Message is an Action that is one netlink message. FDs gives it descriptors
// of namespaces.
type Message interface {
	Action
	Request(fds FDs) rtnl.Request
}

// FDs returns an open descriptor of the namespace with a key.
type FDs func(key string) int

type (
	// MakeNS makes a sandbox; the executor undoes it by destroying it.
	MakeNS struct{ Tag SandboxTag }
	// EndNS ends a sandbox, which nothing takes back.
	EndNS struct{}
	// NewLink makes a link in Op.NS. With In it is made in that namespace, and the
	// message is sent in Op.NS all the same, where the link's parent is.
	NewLink struct {
		Link   rtnl.LinkNew
		In     *string // the namespace that the link is for; nil for Op.NS
		PeerNS *string // of a veth's other end; nil for Op.NS
		Parent string  // the name of Link.Parent
	}
	// NewTun makes a tun or tap, which netlink can not do.
	NewTun struct {
		Index int
		Name  string
		Kind  string // tun or tap
		Data  rtnl.LinkData
	}
	// SetLink changes a link, or with To moves it.
	SetLink struct {
		Link   rtnl.LinkSet
		To     *string
		Master string // the name of Link.Master
		Home   *Home  // of a link that goes home; nil for others
		// Tagged says that a person who does the same has to give it the alias too: on the
		// host that tells whose the link is, and elsewhere what nothing else tells.
		Tagged bool
	}
	DelLink struct{ Index int }
	NewAddr struct{ Addr rtnl.Addr }
	DelAddr struct{ Addr rtnl.Addr }
	// ReplaceAddr makes an alias IP of an address, or the other way round.
	ReplaceAddr  struct{ Addr rtnl.Addr }
	NewRoute     struct{ Route rtnl.Route }
	ReplaceRoute struct{ Route rtnl.Route }
	DelRoute     struct{ Route rtnl.Route }
	// PutBack makes an address, a route or a neighbour that was there before.
	PutBack  struct{ Kept rtnl.Kept }
	NewNeigh struct{ Neigh rtnl.Neigh }
	DelNeigh struct{ Neigh rtnl.Neigh }
	// ReadLink reads a link for the steps after it.
	ReadLink struct{ Index int }
	// IPv6 turns a link's IPv6 on or off, if it is not so already, by what
	// ReadLink read.
	IPv6 struct {
		Index int
		On    bool
		// Before is what the link had when the plan was made.
		Before rtnl.Inet
	}
	// Verify reads a link back and fails where the kernel did not keep what
	// it was told.
	Verify struct {
		Index int
		MAC   net.HardwareAddr
		MTU   int
		Addrs []netip.Prefix
		// Bridge and Port are settings that some kernels pass over.
		Bridge, Port, Link rtnl.Options
	}
	// Announce makes the kernel tell the peers of a link that is up about its
	// addresses once more. What it says when the link goes up is lost where
	// the other end is a port of a bridge, which only then begins to forward.
	// Wait gives it a moment for that. At is the namespace where the other end
	// most likely is.
	Announce struct {
		Index int
		Wait  bool
		At    string
	}
	// Sysctl sets a setting of the namespace. A %s in Path stands for the
	// link's name.
	Sysctl struct {
		Setting
		Index int
	}
)

func (a NewLink) Request(fds FDs) rtnl.Request {
	n := a.Link
	if (n.Kind == "bridge" || n.Kind == "bond") && n.MAC == nil {
		// The one that the kernel chooses follows the ports, and each time the
		// neighbours are dropped.
		n.MAC = randomMAC()
	}
	if a.In != nil {
		n.NSFD = fds(*a.In)
	}
	if n.Peer != nil && a.PeerNS != nil {
		p := *n.Peer
		p.NSFD = fds(*a.PeerNS)
		n.Peer = &p
	}
	return rtnl.NewLink(n)
}

func (a SetLink) Request(fds FDs) rtnl.Request {
	s := a.Link
	if a.To != nil {
		s.NSFD = fds(*a.To)
	}
	return rtnl.SetLink(s)
}

func (a DelLink) Request(FDs) rtnl.Request      { return rtnl.DelLink(a.Index) }
func (a NewAddr) Request(FDs) rtnl.Request      { return rtnl.NewAddr(a.Addr) }
func (a DelAddr) Request(FDs) rtnl.Request      { return rtnl.DelAddr(a.Addr) }
func (a ReplaceAddr) Request(FDs) rtnl.Request  { return rtnl.ReplaceAddr(a.Addr) }
func (a NewRoute) Request(FDs) rtnl.Request     { return rtnl.NewRoute(a.Route, nil) }
func (a ReplaceRoute) Request(FDs) rtnl.Request { return rtnl.ReplaceRoute(a.Route) }
func (a DelRoute) Request(FDs) rtnl.Request     { return rtnl.DelRoute(a.Route, nil) }
func (a PutBack) Request(FDs) rtnl.Request      { return a.Kept.Request() }
func (a NewNeigh) Request(FDs) rtnl.Request     { return rtnl.ReplaceNeigh(a.Neigh) }
func (a DelNeigh) Request(FDs) rtnl.Request     { return rtnl.DelNeigh(a.Neigh, nil) }

// Command also says that the sandbox is osl's: only then is what the lines after
// it make taken for osl's.
func (a MakeNS) Command(string) string {
	t := SandboxTag{Network: a.Tag.Network, OnHost: a.Tag.OnHost, Labels: a.Tag.Labels, Sysctls: a.Tag.Sysctls}
	off := shell.Setting([2]string{disableIPv6("default"), "1"}, [2]string{disableIPv6("lo"), "1"})
	return "netns add\nlink set dev lo up alias " + shell.Quote(t.String()) + "\n" + off
}

// Command returns nothing: what ends with the sandbox is told by what is there.
func (a EndNS) Command(string) string { return "" }

func (a NewLink) Command(dev string) string {
	n := a.Link
	var b strings.Builder
	b.WriteString("link add")
	kind := KindOf(n.Kind)
	if a.Parent != "" && kind.ownParent {
		fmt.Fprintf(&b, " link %s", shell.Quote(a.Parent))
	}
	fmt.Fprintf(&b, " name %s", shell.Quote(dev))
	if a.In != nil {
		fmt.Fprintf(&b, " netns %s", shell.NS(*a.In))
	}
	if n.MAC != nil {
		fmt.Fprintf(&b, " address %s", n.MAC)
	}
	if n.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", n.MTU)
	}
	if n.TxQLen != nil {
		fmt.Fprintf(&b, " txqueuelen %d", *n.TxQLen)
	}
	queuesCommand(&b, n.Data.TxQueues, n.Data.RxQueues)
	fmt.Fprintf(&b, " type %s", n.Kind)
	kind.command(&b, &a)
	return b.String()
}

func (a NewTun) Command(dev string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tuntap add dev %s mode %s", shell.Quote(dev), a.Kind)
	KindOf(a.Kind).command(&b, &NewLink{Link: rtnl.LinkNew{Data: a.Data}})
	return b.String()
}

func (a SetLink) Command(dev string) string {
	s := a.Link
	var b strings.Builder
	start := "link set dev " + shell.Quote(dev)
	b.WriteString(start)
	if a.To != nil {
		fmt.Fprintf(&b, " netns %s", shell.NS(*a.To))
	}
	if s.Name != "" {
		fmt.Fprintf(&b, " name %s", shell.Quote(s.Name))
	}
	if s.MAC != nil {
		fmt.Fprintf(&b, " address %s", s.MAC)
	}
	if s.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", s.MTU)
	}
	if s.TxQLen != nil {
		fmt.Fprintf(&b, " txqueuelen %d", *s.TxQLen)
	}
	b.WriteString(optionsText(rtnl.LinkOptions, &s.Options))
	if s.Master != nil {
		if *s.Master == 0 {
			b.WriteString(" nomaster")
		} else {
			fmt.Fprintf(&b, " master %s", shell.Quote(a.Master))
		}
	}
	if s.Up != nil {
		b.WriteString(map[bool]string{true: " up", false: " down"}[*s.Up])
	}
	var lines []string
	if s.Alias != nil && (a.Tagged || b.Len() == len(start) && s.ARP == nil) {
		b.WriteString(" alias " + shell.Quote(*s.Alias)) // beside others it is bookkeeping
	}
	if b.Len() > len(start) {
		lines = append(lines, b.String())
	}
	dev = orElse(s.Name, dev) // by then
	if s.Promote != nil {
		lines = append(lines, shell.Setting([2]string{"ipv4/conf/" + dev + "/promote_secondaries", strconv.Itoa(int(*s.Promote))}))
	}
	if s.ARP != nil {
		lines = append(lines, shell.Setting([2]string{"ipv4/conf/" + dev + "/arp_ignore", strconv.Itoa(int(s.ARP[0]))},
			[2]string{"ipv4/conf/" + dev + "/arp_announce", strconv.Itoa(int(s.ARP[1]))}))
	}
	return strings.Join(lines, "\n")
}

func (a DelLink) Command(dev string) string { return "link del dev " + shell.Quote(dev) }

func (a NewAddr) Command(dev string) string {
	return fmt.Sprintf("addr add %s dev %s%s%s", addrText(a.Addr), shell.Quote(dev), addrOptions(a.Addr), noDAD(a.Addr))
}

func (a DelAddr) Command(dev string) string {
	return fmt.Sprintf("addr del %s dev %s", addrText(a.Addr), shell.Quote(dev))
}

func (a ReplaceAddr) Command(dev string) string {
	// Without the protocol, for which ip has a word since 6.3 only: it is nobody's then,
	// which up takes over.
	return fmt.Sprintf("addr replace %s dev %s%s%s", addrText(a.Addr), shell.Quote(dev), addrOptions(a.Addr), noDAD(a.Addr))
}

func (a NewRoute) Command(dev string) string     { return routeCommand("add", a.Route, dev) }
func (a ReplaceRoute) Command(dev string) string { return routeCommand("replace", a.Route, dev) }
func (a DelRoute) Command(dev string) string     { return routeCommand("del", a.Route, dev) }

func (a PutBack) Command(dev string) string {
	if addr, is := a.Kept.Addr(); is {
		return NewAddr{addr}.Command(dev)
	}
	r, is := a.Kept.Route()
	if !is {
		return a.Kept.String() + " dev " + shell.Quote(dev)
	}
	if len(r.Hops) > 0 {
		for i := range r.Hops {
			if h := &r.Hops[i]; h.Index == r.Hops[0].Index {
				h.Dev = dev
			}
		}
		dev = ""
	}
	return routeCommand("append", r, dev)
}

func (a NewNeigh) Command(dev string) string {
	if a.Neigh.Bridge != 0 {
		return entryCommand("replace", a.Neigh, dev)
	}
	if a.Neigh.FDB {
		verb, state := "replace", "permanent"
		if a.Neigh.ForAll() {
			verb = "append"
		}
		if a.Neigh.Proto == rtnl.Protocol {
			state = "permanent static" // together the mark by which one is osl's
		}
		return fmt.Sprintf("bridge fdb %s %s dev %s dst %s self %s", verb, a.Neigh.MAC, shell.Quote(dev), a.Neigh.IP, state)
	}
	return fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent proto %d", a.Neigh.IP, a.Neigh.MAC, shell.Quote(dev), a.Neigh.Proto)
}

func (a DelNeigh) Command(dev string) string {
	if a.Neigh.Bridge != 0 {
		return entryCommand("del", a.Neigh, dev)
	}
	if a.Neigh.FDB {
		return fmt.Sprintf("bridge fdb del %s dev %s dst %s self", a.Neigh.MAC, shell.Quote(dev), a.Neigh.IP)
	}
	return fmt.Sprintf("neigh del %s dev %s", a.Neigh.IP, shell.Quote(dev))
}

func (a ReadLink) Command(dev string) string { return "link show dev " + shell.Quote(dev) }

func (a IPv6) Command(dev string) string {
	return shell.Setting([2]string{disableIPv6(dev), strconv.Itoa(b2i(!a.On))})
}

func (a Verify) Command(dev string) string { return "addr show dev " + shell.Quote(dev) }

func (a Announce) Command(dev string) string { return "link set dev " + shell.Quote(dev) + " up" }

func (a Sysctl) Command(dev string) string {
	return shell.Setting([2]string{a.At(dev), a.Value})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
