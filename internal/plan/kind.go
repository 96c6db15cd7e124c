package plan

import (
	"cmp"
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
	// those that do for all.
	Fields []string
	// Check says what is wrong with them, and of which.
	Check func(d *rtnl.LinkData) (field, text string)
	// MaxMTU is the highest MTU in bytes, 0 for no limit.
	MaxMTU int

	// Once is what makes one and is there once only: it is known by that.
	Once *Once

	ownParent bool // the link below is fixed, and said where the link is made
	needsOne  bool // it can not do without
	headers   int  // of a tunnel, in bytes
	silent    bool // its state stays unknown: there is no moment to wait for
	byDevice  bool // it is made through /dev/net/tun

	command func(b *strings.Builder, n *NewLink)                // after "type NAME"
	differs func(f *Iface, l *rtnl.Link) string                 // what can not be changed
	reshape func(f *Iface, l *rtnl.Link, to, from *ChangeLink)  // what can, and its way back
	change  func(b *strings.Builder, a *ChangeLink)             // after "type NAME"
	below   func(parent *rtnl.Link) (index int, elsewhere bool) // what the kernel says it is on
}

// Kinds are the types of links that osl makes, in the order in which a person reads
// them.
var Kinds = []*Kind{
	{Name: "bridge", MaxMTU: maxMTU},
	{Name: "veth", MaxMTU: maxMTU, Fields: []string{"peer"}, command: vethCommand},
	{
		Name: "vxlan", MaxMTU: maxMTU, Fields: []string{"vni", "local", "remote", "port", "parent"}, Check: checkVXLAN,
		headers: 50, silent: true,
		Once: &Once{"VNI", func(d rtnl.LinkData) string { return fmt.Sprintf("the VNI %d", d.VNI) },
			"a VNI is there once for each UDP port of the namespace that the tunnel is in"},
		command: vxlanCommand,
		differs: func(f *Iface, l *rtnl.Link) string {
			switch {
			case f.Data.VNI != l.Data.VNI:
				return fmt.Sprintf("with the VNI %d", l.Data.VNI)
			case vxlanPort(f.Data) != l.Data.Port:
				return fmt.Sprintf("with the port %d", l.Data.Port)
			}
			return ""
		},
		reshape: reshapeVXLAN,
		change: func(b *strings.Builder, a *ChangeLink) {
			fmt.Fprintf(b, " id %d", a.Data.VNI)
			vxlanEnds(b, a.Data, "")
			if a.Name != "" {
				fmt.Fprintf(b, " dev %s", shell.Quote(a.Name))
			}
		},
	},
	{
		Name: "macvlan", MaxMTU: maxMTU, Fields: []string{"mode", "parent"}, Check: checkMacvlan,
		ownParent: true, needsOne: true,
		command: func(b *strings.Builder, n *NewLink) { fmt.Fprintf(b, " mode %s", mode(n.Link.Data)) },
		differs: func(f *Iface, l *rtnl.Link) string {
			if mode(f.Data) != mode(l.Data) && (f.Data.Mode == "passthru" || l.Data.Mode == "passthru") {
				return "in the mode " + l.Data.Mode
			}
			return ""
		},
		reshape: func(f *Iface, l *rtnl.Link, to, from *ChangeLink) {
			to.Data.Mode, from.Data.Mode = mode(f.Data), mode(l.Data)
		},
		change: func(b *strings.Builder, a *ChangeLink) { fmt.Fprintf(b, " mode %s", a.Data.Mode) },
		below: func(parent *rtnl.Link) (int, bool) {
			if parent.Kind == "macvlan" { // one on another is on what that is on
				return parent.Parent, parent.ParentNS
			}
			return parent.Index, false
		},
	},
	{
		Name: "vlan", MaxMTU: maxMTU, Fields: []string{"vlan", "parent"}, Check: checkVLAN,
		ownParent: true, needsOne: true,
		Once:    &Once{"VLAN", func(d rtnl.LinkData) string { return fmt.Sprintf("the tag %d", d.VLAN) }, "a tag is there once for each parent"},
		command: func(b *strings.Builder, n *NewLink) { fmt.Fprintf(b, " id %d", n.Link.Data.VLAN) },
		differs: func(f *Iface, l *rtnl.Link) string {
			if f.Data.VLAN != l.Data.VLAN {
				return fmt.Sprintf("with the tag %d", l.Data.VLAN)
			}
			return ""
		},
	},
	{Name: "dummy", silent: true},
	{Name: "tun", MaxMTU: maxMTU, silent: true, byDevice: true},
	{Name: "tap", MaxMTU: maxMTU - 14, silent: true, byDevice: true},
}

// Once says what there is once only.
type Once struct {
	Kernel string // the word by which the kernel calls it where it refuses a second one
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

// KindOf returns what is known of a type.
func KindOf(name string) *Kind {
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
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

// NeedsParent reports whether a link of this type can not do without one below.
func (k *Kind) NeedsParent() bool { return k.needsOne }

func vethCommand(b *strings.Builder, n *NewLink) {
	fmt.Fprintf(b, " peer name %s", shell.Quote(n.Link.Peer.Name))
	if n.Link.Peer.MTU != 0 {
		fmt.Fprintf(b, " mtu %d", n.Link.Peer.MTU)
	}
	if n.PeerNS != nil {
		fmt.Fprintf(b, " netns %s", shell.NS(*n.PeerNS))
	}
}

func checkVXLAN(d *rtnl.LinkData) (field, text string) {
	switch {
	case d.VNI < 1 || d.VNI >= 1<<24:
		return "vni", fmt.Sprintf("a vxlan needs a vni from 1 to %d", 1<<24-1)
	case d.Port < 0 || d.Port > 65535:
		return "port", fmt.Sprintf("the port %d is none: it is from 1 to 65535, or 0 for %d", d.Port, rtnl.VXLANPort)
	}
	return "", ""
}

func vxlanCommand(b *strings.Builder, n *NewLink) {
	fmt.Fprintf(b, " id %d", n.Link.Data.VNI)
	vxlanEnds(b, n.Link.Data, n.Parent)
	fmt.Fprintf(b, " dstport %d", vxlanPort(n.Link.Data))
}

func vxlanEnds(b *strings.Builder, d rtnl.LinkData, dev string) {
	if dev != "" {
		fmt.Fprintf(b, " dev %s", shell.Quote(dev))
	}
	if d.Local.IsValid() {
		fmt.Fprintf(b, " local %s", d.Local)
	}
	if d.Remote.IsValid() {
		fmt.Fprintf(b, " remote %s", d.Remote)
	}
}

func vxlanPort(d rtnl.LinkData) int { return cmp.Or(d.Port, rtnl.VXLANPort) }

func reshapeVXLAN(f *Iface, l *rtnl.Link, to, from *ChangeLink) {
	to.Data.VNI, from.Data.VNI = l.Data.VNI, l.Data.VNI
	if r := f.Data.Remote; r.IsValid() && r != l.Data.Remote {
		to.Data.Remote, from.Data.Remote = r, l.Data.Remote
		if !from.Data.Remote.IsValid() {
			from.Data.Remote = Unspecified(r)
		}
	}
	if a := f.Data.Local; a.IsValid() && a != l.Data.Local {
		to.Data.Local, from.Data.Local = a, l.Data.Local
		if !from.Data.Local.IsValid() {
			from.Data.Local = Unspecified(a)
		}
	}
}

// MacvlanModes are the modes of a macvlan.
var MacvlanModes = []string{"bridge", "private", "vepa", "passthru"}

func checkMacvlan(d *rtnl.LinkData) (field, text string) {
	if !slices.Contains(MacvlanModes, mode(*d)) {
		return "mode", fmt.Sprintf("the mode %q of a macvlan is none of %s%s", d.Mode, strings.Join(MacvlanModes, ", "), near.Hint(d.Mode, MacvlanModes))
	}
	return "", ""
}

func mode(d rtnl.LinkData) string { return cmp.Or(d.Mode, "bridge") }

func checkVLAN(d *rtnl.LinkData) (field, text string) {
	if d.VLAN < 1 || d.VLAN > 4094 {
		return "vlan", "a vlan needs a tag, vlan, from 1 to 4094"
	}
	return "", ""
}
