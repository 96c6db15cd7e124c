package plan

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// Called names a neighbour or forwarding entry in errors: by its address, else by its
// hardware address.
func (n *Neigh) Called() string {
	if n.IP.IsValid() {
		return n.IP.String()
	}
	return n.MAC.String()
}

// seat is what a bridge has one forwarding entry for.
type seat struct {
	bridge int
	vlan   uint16
	mac    string
}

func seatOf(n rtnl.Neigh) seat { return seat{n.Bridge, n.VLAN, string(n.MAC)} }

// entry finds the bridge of a forwarding entry of one, and checks what is wanted of it.
// taken are the ports of those before it.
func (b *builder) entry(w *Sandbox, n *Neigh, ifaces map[string]*Iface, taken map[seat]string) error {
	problem := func(format string, args ...any) error {
		return &Problem{Key: w.Key, Dev: n.Dev, Kind: Invalid, Field: "neighbors", Entry: n.Called(), Text: fmt.Sprintf(format, args...)}
	}
	f := ifaces[n.Dev]
	if f == nil {
		return problem("a forwarding entry without ip is one of a bridge, and %q is no interface of this sandbox that is described", n.Dev)
	}
	switch {
	case f.Kind == "bridge" && n.MDB:
		return problem("a multicast entry is at a port of a bridge, and %q is a bridge itself", n.Dev)
	case f.Kind != "bridge" && f.Master == "":
		return problem("a forwarding entry without ip is one of a bridge, and %q is neither a bridge nor has it a master", n.Dev)
	}
	b.seat(w, n)
	filters := b.bridgeIs(w, n.Bridge, rtnl.BridgeVLANFiltering, 1)
	switch {
	case filters && n.VLAN == 0:
		return problem("the bridge %q filters VLANs: write in which vlan the entry is", n.BridgeName)
	case !filters && n.VLAN != 0:
		return problem("the bridge %q does not filter VLANs, so that an entry in one means nothing", n.BridgeName)
	case f.VLANs != nil && n.VLAN != 0 && f.VLANs[n.VLAN] == 0:
		return problem("%q is not in the VLAN %d", n.Dev, n.VLAN)
	case n.MDB && b.bridgeIs(w, n.Bridge, rtnl.BridgeMulticastSnooping, 0):
		return problem("the bridge %q has no multicast entries without mcast_snooping", n.BridgeName)
	case n.MDB:
		return nil // a multicast is for several ports
	}
	at := seatOf(n.Neigh)
	if dev, twice := taken[at]; twice {
		return problem("the hardware address %v is at %q already: a bridge has it in one place", n.MAC, dev)
	}
	taken[at] = n.Dev
	return nil
}

// seat notes of which bridge an entry is.
func (b *builder) seat(w *Sandbox, n *Neigh) {
	n.Bridge, n.BridgeName = n.Index, n.Dev
	if f := w.Iface(n.Dev); f != nil && f.Kind != "bridge" {
		n.Bridge, n.BridgeName = b.index[end{w.Key, f.Master}], f.Master
	}
}

// Misplaced says why a vxlan's entry can not be on a device, wanted or there: the kernel
// keeps one of another type of link, too, and passes over where it leads to.
func Misplaced(f *Iface, l *rtnl.Link, n Neigh) string {
	if !n.FDB || n.OfBridge {
		return ""
	}
	var d, has rtnl.LinkData
	kind := ""
	if l != nil {
		kind, has = l.Kind, l.Data
	}
	if f != nil {
		d = f.Data
		if kind = orElse(f.Kind, kind); f.From != nil {
			kind, has = f.From.Link.Kind, f.From.Link.Data
		}
	}
	six := slices.ContainsFunc([]netip.Addr{d.Local, d.Remote, has.Local, has.Remote}, netip.Addr.Is6)
	switch {
	case kind != "vxlan":
		return fmt.Sprintf("a forwarding entry with ip is one of a vxlan, and %q is none: without ip it is one of a bridge", n.Dev)
	case n.IP.Is6() != six:
		return fmt.Sprintf("the vxlan %q does not send to %v, which is of another family than its remote or local address", n.Dev, n.IP)
	}
	return ""
}

// leftBridge reports whether an entry of a bridge goes by itself, since its port leaves.
func (b *builder) leftBridge(key string, n rtnl.Neigh) bool {
	f := b.wanted[n.Index]
	return n.Bridge != 0 && n.Bridge != n.Index && f != nil && b.index[end{key, f.Master}] != n.Bridge
}

// joins reports whether an entry is at a port that comes to its bridge in this change: to
// leave it is to take the entry back, and it may have another of the kind where it was.
func (b *builder) joins(k *known, n rtnl.Neigh) bool {
	l := k.ByIndex(n.Index)
	return n.Bridge != 0 && n.Bridge != n.Index && (l == nil || l.Master != n.Bridge)
}

// entryBack returns what takes a new entry away, or brings it back to the port that it
// comes from.
func (b *builder) entryBack(key string, n Neigh, k *known) (ops []Op) {
	if !b.joins(k, n.Neigh) {
		ops = []Op{{NS: key, Dev: n.Dev, Do: DelNeigh{n.Neigh}}}
	}
	if h, at := k.seats[seatOf(n.Neigh)]; at && n.Bridge != 0 && !n.MDB && !b.leftBridge(key, h) {
		ops = append(ops, Op{NS: key, Dev: k.nameOf(h.Index), Do: NewNeigh{h}})
	}
	return ops
}

// sameSeats finds, among the wanted entries, what the deletion of one without a VLAN takes
// along: the kernel makes and deletes such a one with those of all VLANs of the port.
func sameSeats(wanted map[neighKey]rtnl.Neigh, n rtnl.Neigh) (list []rtnl.Neigh) {
	if n.Bridge == 0 || n.VLAN != 0 || n.MDB {
		return nil
	}
	for k, o := range wanted {
		if k.bridge && !k.mdb && k.index == n.Index && k.mac == string(n.MAC) && k.vlan != 0 {
			list = append(list, o)
		}
	}
	return list
}

// NoEntry reports whether err only says that what a step takes away is not there, for
// which the kernel has no word of its own: a multicast entry, or a route whose next hop is
// an object that is gone.
func NoEntry(a Action, err error) bool {
	e, ok := errnoOf(err)
	if !ok || e != syscall.EINVAL {
		return false
	}
	switch a := a.(type) {
	case DelNeigh:
		return a.Neigh.MDB
	case DelRoute: // it went with its next hop
		return a.Route.Nexthop != 0
	}
	return false
}

// entryCommand returns the command for an entry of a bridge.
func entryCommand(verb string, n rtnl.Neigh, dev string) string {
	vlan := ""
	if n.VLAN != 0 {
		vlan = fmt.Sprintf(" vlan %d", n.VLAN)
	}
	if n.MDB {
		group := n.MAC.String()
		if n.IP.IsValid() {
			group = n.IP.String()
		}
		if n.VLAN != 0 {
			vlan = fmt.Sprintf(" vid %d", n.VLAN)
		}
		if verb != "del" {
			// Without the protocol, for which bridge has a word since 6.3 only, as for replace:
			// it is of somebody then who made it by hand, from whom up takes it over.
			verb = "add"
		}
		return fmt.Sprintf("bridge mdb %s dev %s port %s grp %s permanent%s", verb, shell.Quote(n.BridgeName), shell.Quote(dev), group, vlan)
	}
	how := map[bool]string{true: "self permanent extern_learn", false: "master static sticky"}[n.Index == n.Bridge]
	if verb == "del" {
		how = map[bool]string{true: "self", false: "master"}[n.Index == n.Bridge]
	}
	return fmt.Sprintf("bridge fdb %s %s dev %s %s%s", verb, n.MAC, shell.Quote(dev), how, vlan)
}

// Implied reports whether an entry is there since another one is, without a VLAN, that
// the kernel puts into all of the port's.
func Implied(list []rtnl.Neigh, n rtnl.Neigh) bool {
	return n.Bridge != 0 && !n.MDB && n.VLAN != 0 && slices.ContainsFunc(list, func(o rtnl.Neigh) bool {
		return o.Bridge == n.Bridge && !o.MDB && o.Index == n.Index && o.VLAN == 0 && bytes.Equal(o.MAC, n.MAC)
	})
}
