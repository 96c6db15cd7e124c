package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// Kind is what osl knows of a type of link: what may be asked of one, what can be
// changed of it in place, and how the ip command calls that. How the kernel is told
// is in package rtnl. A nil function has nothing to say.
type Kind struct {
	Name string
	// Fields are those of an interface that mean something for this type, beside
	// those that do for all, in the order in which ip is told.
	Fields []string
	// InPlace are those of Fields that are changed of a link that is there. Where
	// another differs, the link is replaced.
	InPlace []string
	// Words are what a field may be, where that is not any word.
	Words map[string][]string
	// Defaults fills in what one has that says nothing of it.
	Defaults rtnl.LinkData
	// Check says what else is wrong, and of which field.
	Check func(d *rtnl.LinkData) (field, text string)
	// MaxMTU is the highest MTU in bytes, 0 for no limit; MinMTU the lowest.
	MinMTU, MaxMTU int
	// WrongMTU says what is wrong with one between these, empty for nothing.
	WrongMTU func(mtu int) string
	// Pair says that it is made with another end like it, and goes with that.
	Pair bool
	// Ports says that others can have it as their master.
	Ports bool
	// NoMAC says why it has no hardware address of its own, by what is asked for;
	// empty where it has.
	NoMAC func(d *rtnl.LinkData) string
	// NoIP says that it carries no IP.
	NoIP bool
	// NoARP says that the kernel makes it with ARP off.
	NoARP bool
	// NoAddrGen says that it gets no IPv6 link-local address: the kernel turns that off
	// each time it goes up.
	NoAddrGen bool
	// QueueLen is the length of the transmit queue that the kernel gives one, in
	// packets; 0 is what most have, 1000.
	QueueLen int
	// offloadsOff are features that can be changed, and that the kernel leaves off of one.
	offloadsOff []string
	// MTU is the MTU that the kernel gives one of which nothing else says it, in bytes;
	// 0 is what most have, 1500.
	MTU int
	// Here says that the link below it is in its own namespace.
	Here bool

	// Once is what makes one and is there once only: it is known by that.
	Once *Once

	keepsMTU  bool // its MTU is not changed while it is up
	keepsMAC  bool // its hardware address is said where it is made
	groups    bool // its remote may be a multicast group
	ownParent bool // the link below is fixed, and said where the link is made
	needsOne  bool // it can not do without
	sized     bool // it gets that one's MTU whenever that changes
	follows   bool // it goes down and up with that one
	ends      bool // it ends with that one, though it can be made without, and is then on none
	headers   int  // of a tunnel, in bytes: see Iface.headers
	resizes   bool // its MTU is chosen anew where it is changed, unless that is said there
	byRoute   bool // its MTU is by the way to its other end alone, not by the link below
	silent    bool // its state stays unknown: there is no moment to wait for
	byDevice  bool // it is made through /dev/net/tun
	needsID   bool // ip wants the first field where others are changed

	differs func(f *Iface, l *rtnl.Link, dropped Asked) string  // what else can not be changed
	below   func(parent *rtnl.Link) (index int, elsewhere bool) // what the kernel says it is on
}

// Kinds are the types of links that osl makes, in the order in which a person reads
// them.
var Kinds = slices.Concat([]*Kind{{Name: "bridge", MaxMTU: maxMTU, Ports: true}}, pairKinds, masterKinds, upperKinds, tunnelKinds, ipTunnelKinds, plainKinds)

var plainKinds = []*Kind{
	{Name: "dummy", silent: true, NoARP: true},
	{Name: "ifb", silent: true, NoARP: true, QueueLen: 32, Fields: queueFields, keepsMAC: true},
	{Name: "tun", MaxMTU: maxMTU, silent: true, NoARP: true, QueueLen: 500, byDevice: true, Fields: tunFields,
		NoMAC: because("a tun has no hardware address; a tap has")},
	{Name: "tap", MaxMTU: maxMTU - 14, silent: true, byDevice: true, Fields: tunFields},
	{Name: "wireguard", MTU: 1420, silent: true, NoARP: true, NoAddrGen: true, NoMAC: because("a wireguard has no hardware address")},
	{Name: "vcan", MTU: 72, MinMTU: 16, MaxMTU: 2060, WrongMTU: wrongCAN, keepsMTU: true, silent: true, NoIP: true, NoARP: true, NoMAC: because("a vcan has no hardware address")},
}

var (
	tunFields   = []string{"owner", "owner_group", "multi_queue", "vnet_hdr"}
	queueFields = []string{"numtxqueues", "numrxqueues"}
)

// Once says what there is once only.
type Once struct {
	// Kernel is the word by which the kernel calls it where it refuses a second one,
	// empty where it says nothing.
	Kernel string
	Text   func(d rtnl.LinkData) string
	Hint   string
}

// The MTU that the kernel takes for links that it makes.
const (
	MinMTU = 68
	maxMTU = 65535
)

// other is what is known of a link of any other type.
var other = &Kind{}

var kindsByName = func() map[string]*Kind {
	m := map[string]*Kind{}
	for _, k := range Kinds {
		m[k.Name] = k
	}
	return m
}()

// KindOf returns what is known of a type.
func KindOf(name string) *Kind {
	if k := kindsByName[name]; k != nil {
		return k
	}
	return other
}

// KindNames are the names of the types that osl makes.
func KindNames() (list []string) {
	for _, k := range Kinds {
		list = append(list, k.Name)
	}
	return list
}

// WordsOf are the words that a field may be, for any type.
func WordsOf(field string) (list []string) {
	for _, k := range Kinds {
		for _, w := range k.Words[field] {
			if !slices.Contains(list, w) {
				list = append(list, w)
			}
		}
	}
	return list
}

// A returns the name of a type with its article.
func A(kind string) string {
	if kind != "" && strings.ContainsRune("aeiou", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// NeedsParent reports whether a link of this type can not do without one below.
func (k *Kind) NeedsParent() bool { return k.needsOne }

// Wrong says what is wrong with what is asked for, and of which field.
func (k *Kind) Wrong(d *rtnl.LinkData) (field, text string) {
	for _, name := range k.Fields {
		words := k.Words[name]
		if f := fieldOf(name); words != nil && f != nil {
			if got := f.text(d); got != "" && !slices.Contains(words, got) {
				return name, fmt.Sprintf("the %s %q of %s is none of %s%s", f.label(), got, A(k.Name), strings.Join(words, ", "), near.Hint(got, words))
			}
		}
	}
	if field, text := k.wrongEnd(d); text != "" {
		return field, text
	}
	if k.Check != nil {
		return k.Check(d)
	}
	return "", ""
}

// fixed says what can not be changed of a link, empty where all can. Some of what was asked
// for of it may be dropped.
func (k *Kind) fixed(f *Iface, l *rtnl.Link, dropped Asked) string {
	usual := k.usualData(&f.Data)
	for _, name := range k.Fields {
		x := fieldOf(name)
		if x == nil || slices.Contains(k.InPlace, name) {
			continue
		}
		want, have := x.text(&f.Data), x.text(&l.Data)
		drops := want == "" && dropped.field(name)
		if drops {
			want = x.text(&usual)
		}
		if (want != "" || drops) && want != have {
			if have == "" {
				return "without a " + x.label()
			}
			return fmt.Sprintf("with the %s %s", x.label(), have)
		}
	}
	if !k.ownParent {
		switch on := f.Parent != "" || f.HostParent != nil; {
		case on && l.ParentNS != (f.HostParent != nil):
			return "of another namespace" // where its socket stays
		case dropped.field("parent") && l.Parent != 0:
			return "on another link" // of which the kernel takes no tunnel away
		}
	}
	if k.keepsMTU && f.MTU != 0 && f.MTU != l.MTU {
		return fmt.Sprintf("with the MTU %d", l.MTU)
	}
	if k.keepsMAC && f.MAC != nil && !bytes.Equal(f.MAC, l.MAC) {
		return fmt.Sprintf("with the hardware address %v", l.MAC)
	}
	if k.differs != nil {
		return k.differs(f, l, dropped)
	}
	return ""
}

// command appends what ip is told of one that is made, after "type NAME".
func (k *Kind) command(b *strings.Builder, n *NewLink) {
	for _, name := range k.Fields {
		switch x := fieldOf(name); {
		case x != nil:
			x.command(b, &n.Link.Data)
		case name == "parent" && !k.ownParent && n.Parent != "":
			fmt.Fprintf(b, " dev %s", shell.Quote(n.Parent))
		case name == "peer" && n.Link.Peer != nil:
			peerCommand(b, n)
		}
	}
}

// wrongCAN is by CAN_MTU, CANFD_MTU and CANXL_MIN_MTU of linux/can.h.
func wrongCAN(mtu int) string {
	if mtu == 16 || mtu == 72 || mtu >= 76 {
		return ""
	}
	return fmt.Sprintf("the MTU %d is none of a vcan: it has 16, 72 (CAN FD), or 76 to 2060 (CAN XL)", mtu)
}

func because(text string) func(*rtnl.LinkData) string {
	return func(*rtnl.LinkData) string { return text }
}
