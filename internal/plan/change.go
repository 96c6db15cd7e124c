package plan

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// change plans what an existing link lacks of what is wanted.
func (b *builder) change(w *Sandbox, f *Iface, k *known, l *rtnl.Link, tag Tag, master int) {
	s := k.part(l)
	set, old := rtnl.LinkSet{Index: l.Index}, rtnl.LinkSet{Index: l.Index}
	changed := false
	asked, marks := tag.Asked, tag.Marks
	tag.Asked, tag.Marks = f.asked, f.marks()
	if !w.Prune {
		tag.Marks = slices.Compact(slices.Sorted(slices.Values(slices.Concat(marks, tag.Marks))))
	}
	if f.Name != l.Name {
		set.Name, old.Name, changed = f.Name, l.Name, true
	}
	// A bridge that is told its hardware address keeps it whatever ports it has.
	pins := f.Keep && tag.Origin == None && l.Kind == "bridge"
	if f.MAC != nil && (pins || !bytes.Equal(f.MAC, l.MAC)) {
		set.MAC, old.MAC, changed = f.MAC, l.MAC, true
	}
	if f.MTU != 0 && (f.MTU != l.MTU || KindOf(l.Kind).sized && b.resized[place{w.Key, l.Parent}] != 0) {
		set.MTU, old.MTU, changed = f.MTU, l.MTU, true
	}
	if f.MTU != 0 && l.Kind == "bridge" && tag.Origin == Made && f.MTU != tag.MTU {
		if f.MTU == l.MTU { // so far by its ports
			b.wire = append(b.wire, Op{NS: w.Key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, MTU: otherMTU(f.MTU)}}})
		}
		tag.MTU = f.MTU
		alias := tag.String()
		set.MTU, old.MTU, set.Alias, old.Alias, changed = f.MTU, l.MTU, &alias, &l.Alias, true
	}
	if entries := b.entries[end{w.Key, f.Name}]; tag.Origin != None && tag.Entries != entries && (entries || w.Prune) {
		tag.Entries = entries
		alias := tag.String()
		set.Alias, old.Alias, changed = &alias, &l.Alias, true
	}
	if tag.Origin != None && f.Note != tag.Note && (f.Note != "" || w.Prune) {
		tag.Note = f.Note
		alias := tag.String()
		set.Alias, old.Alias, changed = &alias, &l.Alias, true
	}
	if f.Owner != "" && tag.Network != f.network() { // so far, or from now on, an end that nobody says anything of
		tag.Network = f.network()
		alias := tag.String()
		set.Alias, old.Alias, changed = &alias, &l.Alias, true
	}
	if w.Prune && tag.Origin == Made && f.Kind != "" && tag.Source != f.SourceName() { // it was another one
		tag.Source = f.SourceName()
		alias := tag.String()
		set.Alias, old.Alias, changed = &alias, &l.Alias, true
	}
	told := set.Alias != nil // what nothing but the tag tells
	was := tag.Was
	to, from := b.options(w, f, l, &tag)
	if mode, ok := to.Get(rtnl.LinkAddrGenMode); ok && revived(f, l) { // when it has IPv6, and before that is on
		to.Drop(rtnl.LinkAddrGenMode)
		late := rtnl.LinkSet{Index: l.Index}
		late.Options.Set(rtnl.LinkAddrGenMode, mode)
		b.read = append(b.read, Op{NS: w.Key, Dev: f.Name, Do: SetLink{Link: late}})
	}
	if !to.Empty() {
		set.Options, old.Options, changed = to, from, true
		if tag.Was != was {
			alias := tag.String()
			set.Alias, old.Alias = &alias, &l.Alias
		}
	}
	had := tag.Names
	names := b.altNames(w, f, l.Index, l, &tag)
	if tag.Origin != None && (len(names) > 0 || len(had) != len(tag.Names)) {
		alias := tag.String()
		set.Alias, old.Alias, changed, told = &alias, &l.Alias, true, true
	}
	if f.TxQLen != nil && *f.TxQLen != l.TxQLen {
		set.TxQLen, old.TxQLen, changed = f.TxQLen, &l.TxQLen, true
	}
	if l.Master != master && (master != 0 || w.Prune && tag.Origin != None && k.tags[l.Master].Origin != None) {
		set.Master, old.Master, changed = &master, &l.Master, true
	}
	if f.HideVIPs && (l.Inet.ARPIgnore != 1 || l.Inet.ARPAnnounce != 2) {
		set.ARP, old.ARP, changed = arp(true), &[2]uint32{l.Inet.ARPIgnore, l.Inet.ARPAnnounce}, true
	}
	if f.Keep && tag.Origin == None {
		kept := TagOf(l, Kept)
		kept.Born, kept.Pin, kept.Note = b.birth(), f.Pin, f.Note
		kept.Entries, kept.Was, kept.Names, kept.Asked = b.entries[end{w.Key, f.Name}], old.Options, tag.Names, f.asked
		kept.Marks = tag.Marks
		alias := kept.String()
		set.Alias, old.Alias, changed = &alias, &l.Alias, true
	}
	noted := changed // else what nobody but osl reads
	if alias := tag.String(); (tag.Asked != asked || !slices.Equal(tag.Marks, marks)) && tag.Origin != None && set.Alias == nil && alias != l.Alias {
		set.Alias, old.Alias, changed = &alias, &l.Alias, true
	}
	replugged := set.Master != nil && (b.cycles(w, k, l.Master) || b.cycles(w, k, master))
	cycled := l.Up() && (replugged || set.Name != "" && !RenamesUp)
	falls := f.Down && l.Up() && (f.Name != "lo" || !w.Prune)
	withParent := b.fallen[l.Index]
	b.fallen[l.Index] = falls || withParent
	if cycled {
		b.cycle(k, l)
		b.wire = append(b.wire, b.lower(w.Key, k, l)...)
	}
	up := true
	if cycled && !replugged {
		set.Up = &up
	}
	if changed {
		if limited(l) {
			old.MTU = 0 // see holdSizes
		}
		undo := []Op{{NS: w.Key, Dev: f.Name, Do: SetLink{Link: old}}}
		if cycled { // as a bond wants it, and a new name
			undo = append([]Op{lowered(w.Key, f.Name, l)}, undo...)
		}
		if set.Master != nil {
			undo = append(undo, bondMAC(w.Key, k.ByIndex(l.Master))...)
			undo = append(undo, bondMAC(w.Key, k.ByIndex(master))...)
		}
		if _, arp := set.Options.Get(rtnl.LinkARP); set.MAC != nil || arp {
			// The kernel forgets a link's neighbours when its address changes, or whether
			// it asks for theirs.
			b.forgot[end{w.Key, f.Name}] = true
			undo = append(undo, NeighsOf(w.Key, l, s)...)
		}
		if set.MTU != 0 {
			b.resized[place{w.Key, l.Index}] = set.MTU
			for _, r := range s.routesOf(l.Index) {
				if sizedByLink(r) {
					undo = append(undo, Op{NS: w.Key, Dev: devOf(r, l), Do: ReplaceRoute{r}})
				}
			}
		}
		if set.Master != nil && l.Port != nil {
			undo = append(undo, portBack(w.Key, l, s)...)
		}
		b.wire = append(b.wire, Op{NS: w.Key, Dev: l.Name, Do: SetLink{Link: set, Master: f.Master, Tagged: told}, Half: true, Undo: undo, Quiet: !noted})
	}
	b.wire = append(b.wire, names...)
	b.reshape(w, f, l)
	if set.Master != nil && !b.gone[l.Master] {
		b.wire = append(b.wire, bondMAC(w.Key, k.ByIndex(l.Master))...)
	}
	if cycled && replugged { // the kernel would set it up first
		b.wire = append(b.wire, Op{NS: w.Key, Dev: f.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &up}}})
	}
	b.changeIPv6(w, f, k, l, tag)
	if falls && !withParent { // before any address comes, which it would take along
		for _, op := range b.lower(w.Key, k, l) {
			index := op.Do.(SetLink).Link.Index
			b.fallen[index] = true
			op.Dev, op.Undo = orElse(b.called[place{w.Key, index}], op.Dev), b.lit(k, op.Undo)
			b.config = append(b.config, op)
		}
	}
	if cycled || falls {
		b.config = append(b.config, b.kept(w.Key, k, l, falls)...)
	}
	if cycled {
		b.raised(w.Key, k, l)
	}
	for _, x := range f.Sysctls {
		b.setting(w.Key, f.Name, l.Index, x, k.State)
	}
	b.changeAddrs(w, f, k, l, s)
	if !f.Down && !l.Up() && (f.Name != "lo" || !w.Prune) {
		up, down := true, false
		undo := append([]Op{{NS: w.Key, Dev: f.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &down}}}}, b.redirects(w.Key, f.Name, l.Kind)...)
		for _, x := range append([]*rtnl.Link{l}, k.followers(l)...) {
			undo = append(undo, b.atRest(w.Key, k, x)...)
		}
		b.config = append(b.config, Op{NS: w.Key, Dev: f.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &up}}, Half: true, Undo: undo})
		b.reroute(w.Key, f.Name, l.Index, f)
		b.raised(w.Key, k, l)
	}
}

// RenamesUp reports whether the kernel renames links that are up, as it does
// since Linux 6.2.
var RenamesUp = true

// cycles reports whether a master takes a port only that is down, or sets it down and
// up again, by which it loses what goes with that.
func (b *builder) cycles(w *Sandbox, k *known, master int) bool {
	kind := ""
	if l := k.ByIndex(master); l != nil {
		kind = l.Kind
	}
	for i := range w.Ifaces {
		if f := &w.Ifaces[i]; b.index[end{w.Key, f.Name}] == master && f.Kind != "" {
			kind = f.Kind
		}
	}
	return kind == "bond" || kind == "vrf"
}

// bondMAC plans to give a bond that is there the hardware address that it has: when
// its last port goes, the kernel gives it another one.
func bondMAC(key string, l *rtnl.Link) []Op {
	if l == nil || l.Kind != "bond" {
		return nil
	}
	return []Op{{NS: key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, MAC: l.MAC}}, Quiet: true}}
}

// SetDown plans to set a link down, and to put back what goes with that.
func SetDown(key string, l *rtnl.Link, s *State) Op {
	down, up := false, true
	return Op{NS: key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &down}}, Half: true, // it may be down though the message failed
		Undo: append([]Op{{NS: key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &up}}}}, slices.Concat(addrsOf(key, l, s), NexthopsBack(key, l, s))...)}
}

// lowered sets a link down that is up for the moment, on the way back: what was before
// comes later.
func lowered(key, dev string, l *rtnl.Link) Op {
	down := false
	return Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &down}}}
}

// NeighsOf returns what puts the neighbours of a link back.
func NeighsOf(key string, l *rtnl.Link, s *State) (ops []Op) {
	for _, n := range s.Neighs {
		if n.Index == l.Index && !n.FDB {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: NewNeigh{n}})
		}
	}
	return ops
}

// addrsOf returns what puts back what a link loses that goes down, or whose
// IPv6 is turned off: IPv6 addresses, routes, and osl's neighbours. The
// link-local address that the kernel made comes by itself.
func addrsOf(key string, l *rtnl.Link, s *State) (ops []Op) {
	for _, a := range slices.Backward(s.Addrs) { // the kernel lists the newest first
		if a.Index == l.Index && a.Prefix.Addr().Is6() && (IsOslsAddr(a) || !a.Prefix.Addr().IsLinkLocalUnicast()) {
			op := Op{NS: key, Dev: l.Name, Do: NewAddr{a}}
			if a.Learned() {
				op = putBack(key, l.Name, a) // with what is left of its lifetime
			}
			ops = append(ops, op)
		}
	}
	ops = append(ops, s.backWith(key, l, func(rtnl.Route) bool { return true })...)
	return append(ops, NeighsOf(key, l, s)...)
}

// WithLastIPv4 returns what puts back what the kernel takes with the last IPv4
// address of a link: routes of the family, and osl's neighbours.
func WithLastIPv4(key string, l *rtnl.Link, s *State) (ops []Op) {
	ops = s.backWith(key, l, func(r rtnl.Route) bool { return r.Dst.Addr().Is4() })
	return append(ops, slices.DeleteFunc(NeighsOf(key, l, s), func(n Op) bool { return n.Do.(NewNeigh).Neigh.IP.Is6() })...)
}

// WithoutIPv4 plans to keep on a link that loses its last IPv4 address what needs none: the
// routes to what is on the link itself, but those whose source goes, and osl's neighbours.
func WithoutIPv4(key string, l *rtnl.Link, s *State) (ops []Op) {
	goes := func(ip netip.Addr) bool {
		return slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool { return a.Index == l.Index && a.Prefix.Addr() == ip })
	}
	for _, r := range slices.Concat(s.Routes, s.Others) {
		if r.Index != l.Index || !r.Dst.Addr().Is4() || r.Via.IsValid() || len(r.Hops) > 0 || r.Nexthop != 0 || r.Src.IsValid() && goes(r.Src) || r.Proto != rtnl.Protocol && r.Whole == nil {
			continue
		}
		op := routeOp(key, l.Name, r)
		op.Do = restore(r)
		ops = append(ops, op)
	}
	for _, op := range NeighsOf(key, l, s) {
		if n := op.Do.(NewNeigh).Neigh; n.IP.Is4() {
			op.Undo = []Op{{NS: key, Dev: l.Name, Do: DelNeigh{n}}}
			ops = append(ops, op)
		}
	}
	return ops
}

// devOf returns the device of a route that goes with a link: it may lead by way of
// others.
func devOf(r rtnl.Route, l *rtnl.Link) string {
	if r.Index == l.Index {
		return l.Name
	}
	return ""
}

// pointToPoint reports whether a link, wanted or there, leads to one other end: all of
// its IPv4 neighbors are one entry, 0.0.0.0.
func pointToPoint(f *Iface, l *rtnl.Link) bool {
	if f == nil || f.From != nil || f.Kind == "" {
		return l != nil && l.Flags&(linux.IFF_LOOPBACK|linux.IFF_POINTOPOINT) != 0
	}
	tunnel := f.Kind == "gre" || f.Kind == "ipip" || f.Kind == "sit"
	return f.Kind == "tun" || f.Kind == "wireguard" || tunnel && f.Data.Remote.IsValid()
}

func (b *builder) neighbours(w *Sandbox, k *known) error {
	ifaces, taken := map[string]*Iface{}, map[seat]string{}
	for i := range w.Ifaces {
		ifaces[w.Ifaces[i].Name] = &w.Ifaces[i]
	}
	for _, n := range w.Neighs {
		index := b.index[end{w.Key, n.Dev}]
		if index == 0 {
			return &Problem{Key: w.Key, Dev: n.Dev, Kind: NotFound, Field: "neighbors", Entry: n.Called(), Within: "dev",
				Text: fmt.Sprintf("the device of the neighbor %s is not in the sandbox%s", n.Called(), near.Hint(n.Dev, k.named(w)))}
		}
		n.Index = index
		n.Proto = rtnl.Protocol
		if !n.FDB && n.IP.Is4() && pointToPoint(ifaces[n.Dev], k.ByIndex(index)) {
			return &Problem{Key: w.Key, Dev: n.Dev, Kind: Invalid, Field: "neighbors", Entry: n.Called(),
				Text: fmt.Sprintf("the neighbor %s is at the other end of %q, which has one only: the kernel keeps no address of it", n.Called(), n.Dev)}
		}
		if n.OfBridge {
			if err := b.entry(w, &n, ifaces, taken); err != nil {
				return err
			}
		}
		f, l := ifaces[n.Dev], k.ByIndex(index)
		if text := Misplaced(f, l, n); text != "" {
			return &Problem{Key: w.Key, Dev: n.Dev, Kind: Invalid, Field: "neighbors", Entry: n.Called(), Text: text}
		}
		if n.ForAll() && f != nil && remoteOf(f, l) == n.IP {
			continue // it is there by the vxlan's own remote
		}
		var undo []Op
		byHand := false
		h, have := k.neighs[keyOf(n.Neigh)]
		if have = have && !b.leftBridge(w.Key, h); have {
			undo = []Op{{NS: w.Key, Dev: n.Dev, Do: NewNeigh{h}}}
			byHand = n.MDB && h.Proto != rtnl.Protocol // which is all that the two differ in
			have = sameEntry(h, n.Neigh) && h.Proto == rtnl.Protocol
		}
		taken := n.ForAll() && f != nil && b.turned(w, f, l) || !n.FDB && (b.fallen[index] || b.bare[index] && n.IP.Is4() || b.dark[end{w.Key, k.nameOf(index)}] && n.IP.Is6())
		if have && !b.forgot[end{w.Key, n.Dev}] && !taken {
			continue
		}
		switch {
		case undo != nil:
		case l != nil && l.HasAsRemote(n.Neigh): // until this change, and again when that is taken back
			n := n.Neigh
			n.Proto, n.State = 0, linux.NUD_PERMANENT|linux.NUD_REACHABLE
			undo = []Op{{NS: w.Key, Dev: l.Name, Do: NewNeigh{n}}}
		default:
			undo = b.entryBack(w.Key, n, k)
		}
		if h, at := k.seats[seatOf(n.Neigh)]; at && n.Bridge != 0 && !n.MDB && (h.Index == h.Bridge) != (index == n.Bridge) && !b.leftBridge(w.Key, h) {
			// Between a port and the bridge the kernel leaves it a part of what it was.
			b.neighs = append(b.neighs, Op{NS: w.Key, Dev: k.nameOf(h.Index), Do: DelNeigh{h}, Undo: []Op{{NS: w.Key, Dev: k.nameOf(h.Index), Do: NewNeigh{h}}}})
		}
		b.neighs = append(b.neighs, Op{NS: w.Key, Dev: n.Dev, Do: NewNeigh{n.Neigh}, Undo: undo, Quiet: byHand})
	}
	return nil
}
