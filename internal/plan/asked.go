package plan

import (
	"cmp"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Asked are the settings of an interface that were asked for, and that it is to lose when
// they are not any more. A tag has them, so their places stay what they are.
type Asked uint64

const (
	askedLink   = 0  // those of rtnl.LinkOptions, from here on
	askedBridge = 16 // those of rtnl.BridgeOptions
	askedPort   = 32 // those of rtnl.PortOptions
	askedMTU    = 48
	askedTxQLen = 49
	askedVLANs  = 50
	// The MTU of a bridge was asked for once, which has its kernel keep it whatever ports
	// come: it gets theirs with each plan, while nobody else sets it.
	followsPorts = 57
)

// askedFields are those of the fields that make a link of its kind of which nothing may be
// said. Those that no kind has both of share a place.
var askedFields = map[string]int{"ingress_qos_map": 51, "egress_qos_map": 52, "ttl": 53, "tos": 54, "learning": 55, "key": 56,
	"local": 58, "remote": 59, "parent": 60,
	"owner": 58, "owner_group": 59, "multi_queue": 60, "vnet_hdr": 61,
	"numtxqueues": 58, "numrxqueues": 59, "policy": 58, "peer_policy": 59, "miimon": 58, "flags": 58}

func (s Asked) has(at int) bool { return s>>at&1 != 0 }

// Cost reports whether the cost of a port was asked for.
func (s Asked) Cost() bool { return s.has(askedPort + rtnl.PortCost) }

func (s *Asked) put(at int, is bool) {
	if is {
		*s |= 1 << at
	}
}

func (s *Asked) options(from int, table []rtnl.Option, o *rtnl.Options) {
	for at := range table {
		_, is := o.Get(at)
		s.put(from+at, is)
	}
}

// says returns what is asked for.
func (f *Iface) says() (s Asked) {
	s.options(askedLink, rtnl.LinkOptions, &f.Options)
	s.options(askedBridge, rtnl.BridgeOptions, &f.Bridge)
	s.options(askedPort, rtnl.PortOptions, &f.Port)
	s.put(askedMTU, f.MTU != 0)
	s.put(askedTxQLen, f.TxQLen != nil)
	s.put(askedVLANs, f.VLANs != nil)
	kind := KindOf(f.Kind)
	for _, name := range kind.Fields {
		switch at, is := askedFields[name]; {
		case !is:
		case name == "parent":
			s.put(at, !kind.ownParent && (f.Parent != "" || f.HostParent != nil))
		default:
			s.put(at, fieldOf(name).text(&f.Data) != "")
		}
	}
	return s
}

// field reports whether a field is among them that makes a link of its kind.
func (s Asked) field(name string) bool {
	at, is := askedFields[name]
	return is && s.has(at)
}

// dropsField reports whether it is to lose what was asked for of a field of its own.
func (f *Iface) dropsField(name string) bool { return f.drops.field(name) }

// dropped are the settings that were asked for of a link that osl made, by its tag, and of
// which an interface says nothing.
func (f *Iface) dropped(t *Tag) Asked {
	if t.Origin != Made && t.Origin != Far {
		return 0
	}
	return t.Asked &^ f.says()
}

// unsaid has the links that stay lose what was asked for of them and is not any more: it
// asks for what they would have if it had never been, in a copy of what is wanted. What
// that is the kernel says nowhere. What can not be told of a link it keeps, and that it
// was asked for.
func (b *builder) unsaid(want []Sandbox) []Sandbox {
	want = slices.Clone(want)
	b.machine = &Sandbox{}
	for i := range want {
		for j := range want[i].Ifaces {
			want[i].Ifaces[j].asked = want[i].Ifaces[j].says()
		}
		if want[i].Key == HostNS {
			b.machine = &want[i]
		}
	}
	for i := range want {
		w, own := &want[i], false
		for j := range w.Ifaces {
			l, tag, had := b.hadAsked(w, &w.Ifaces[j])
			switch dropped := had &^ w.Ifaces[j].asked; {
			case dropped == 0:
			case !w.Prune:
				w.Ifaces[j].asked |= had
			default:
				if !own {
					w.Ifaces, own = slices.Clone(w.Ifaces), true
				}
				b.drop(w, &w.Ifaces[j], l, &tag, dropped)
			}
		}
		for j := range w.Ifaces { // when it is known which bridges filter
			if f := &w.Ifaces[j]; f.drops.has(askedVLANs) {
				l, _, _ := b.hadAsked(w, f)
				f.VLANs = b.usualVLANs(w, f, l)
				f.asked.put(askedVLANs, f.VLANs == nil && (l.Bridge != nil || f.Master != ""))
			}
		}
	}
	for i := range want {
		b.follow(&want[i])
	}
	b.leaveMACs(want)
	return want
}

// hadAsked returns the link that an interface is already, its tag, and what was asked for
// of it; nothing of one that is not osl's.
func (b *builder) hadAsked(w *Sandbox, f *Iface) (*rtnl.Link, Tag, Asked) {
	x := b.is[end{w.Key, f.Name}]
	if x.link == nil && f.Comes != nil && f.Comes.In != nil {
		x.link = &f.Comes.In.Link
		x.tag, _ = ParseTag(x.link.Alias)
	}
	had := x.tag.Asked
	if x.tag.Origin == Host || x.tag.Origin == Kept {
		had.options(askedLink, rtnl.LinkOptions, &x.tag.Was)
	}
	if x.link == nil || x.tag.Origin == None {
		return nil, Tag{}, 0
	}
	return x.link, x.tag, had
}

// drop asks for what a link has where nobody asks for anything.
func (b *builder) drop(w *Sandbox, f *Iface, l *rtnl.Link, tag *Tag, dropped Asked) {
	was := tag.Origin == Host || tag.Origin == Kept
	f.drops = dropped
	usual := KindOf(f.Kind).usualData(&f.Data)
	for _, name := range KindOf(f.Kind).InPlace {
		if x := fieldOf(name); f.dropsField(name) {
			x.copy(&f.Data, &usual)
		}
	}
	if f.losesMTU(l, tag, dropped) {
		f.drops.put(askedMTU, true)
		f.MTU = tag.MTU
		if !was {
			f.MTU = b.usualMTU(w, f, l)
		}
		f.asked.put(askedMTU, f.MTU == 0)
		f.asked.put(followsPorts, l.Kind == "bridge" && !was)
		if f.Peer != nil && !f.Peer.Claimed && f.Peer.MTU == 0 {
			other := *f.Peer
			other.MTU, f.Peer = f.MTU, &other
		}
	}
	if dropped.has(askedTxQLen) {
		n := tag.TxQLen
		if !was {
			n = KindOf(l.Kind).UsualQueue()
		}
		f.TxQLen = &n
	}
	of := func(from int, table []rtnl.Option, o, have *rtnl.Options, value func(at int) (uint32, bool)) {
		for at := range table {
			if _, has := have.Get(at); !has || !dropped.has(from+at) {
				continue
			}
			if v, known := value(at); known {
				o.Set(at, v)
			} else {
				f.asked.put(from+at, true)
			}
		}
	}
	of(askedLink, rtnl.LinkOptions, &f.Options, &l.Options, func(at int) (uint32, bool) {
		for _, x := range Sizes {
			if all, is := f.Options.Get(x.All); at == x.IPv4 && is && f.asked.has(askedLink+x.All) {
				return ImpliedSize(all), true
			}
		}
		if was {
			return tag.Was.Get(at)
		}
		bySetting := func(x Setting) bool { return x.Path == addrGenMode && !x.Dropped }
		if at == rtnl.LinkAddrGenMode && (cmp.Or(f.MTU, l.MTU) < MinIPv6 || slices.ContainsFunc(f.Sysctls, bySetting)) {
			return 0, false // it goes with the link's IPv6, or is said by its other name
		}
		return b.known[w.Key].usualOption(l, at)
	})
	if !was && l.Bridge != nil {
		of(askedBridge, rtnl.BridgeOptions, &f.Bridge, l.Bridge, func(at int) (uint32, bool) { return UsualBridge.of(at) })
	}
	if l.Port != nil && f.Master != "" {
		of(askedPort, rtnl.PortOptions, &f.Port, l.Port, func(at int) (uint32, bool) {
			if at == rtnl.PortCost {
				return b.known[w.Key].usualCost(l)
			}
			return UsualPort.of(at)
		})
	}
}

// LoseCost are the ports of bridges of which the cost was asked for and may be no more: what
// the kernel makes of one that is no veth is by its speed.
func (s *State) LoseCost(w *Sandbox) (list []*rtnl.Link) {
	says := func(f Iface) bool { _, says := f.Port.Get(rtnl.PortCost); return f.Master == "" || says }
	if !w.Prune || !slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return !says(f) }) {
		return nil
	}
	for i := range s.Links {
		l := &s.Links[i]
		said := slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return f.Name == l.Name && says(f) })
		if l.Port != nil && l.Kind != "veth" && !said {
			if t, _ := ParseTag(l.Alias); t.Asked.Cost() {
				list = append(list, l)
			}
		}
	}
	return list
}

func (u Usual) of(at int) (value uint32, known bool) {
	value, known = u[at]
	return value, known
}

// usualOption is what a link has of a setting. The sizes of a bridge are by its ports.
func (k *known) usualOption(l *rtnl.Link, at int) (uint32, bool) {
	kind := KindOf(l.Kind)
	switch at {
	case rtnl.LinkGSOMaxSize, rtnl.LinkGSOMaxSegs, rtnl.LinkGSOIPv4MaxSize:
		if l.Kind == "bridge" {
			return 0, false
		}
	case rtnl.LinkAddrGenMode:
		if kind.NoAddrGen {
			return 0, false
		}
	case rtnl.LinkARP:
		if l.Data.Mode == "l2" { // of an ipvlan or a netkit, which have none in the others
			return 0, false
		}
		return UsualARP(l, k.ByIndex)
	}
	return kind.UsualLink().of(at)
}

// usualMTU is the MTU that a link has, 0 where that is not known.
func (b *builder) usualMTU(w *Sandbox, f *Iface, l *rtnl.Link) int {
	kind := KindOf(l.Kind)
	switch {
	case f.Master != "" && b.kindOf(w, f.Master) == "bond":
		return b.mtuBelow(w, nil, f.Master)
	case kind.headers > 0:
		return b.tunnelMTU(w, f, l)
	case kind.ownParent:
		if l.MTU == kind.UsualMTU() { // of which a Spec says nothing either
			return 0
		}
		return b.mtuBelow(w, f.HostParent, f.Parent)
	case l.Kind == "bridge":
		lowest := 0
		for i := range w.Ifaces {
			if p := &w.Ifaces[i]; p.Master == f.Name {
				if mtu := b.mtuAfter(w, p); lowest == 0 || mtu < lowest {
					lowest = mtu
				}
			}
		}
		if lowest != 0 {
			return lowest
		}
	}
	return kind.UsualMTU()
}

// tunnelMTU is the MTU of a tunnel that is made before there is a way to its other end, as
// in a new sandbox: by the link that it is said to be on, or by none.
func (b *builder) tunnelMTU(w *Sandbox, f *Iface, l *rtnl.Link) int {
	kind := KindOf(l.Kind)
	mtu := defaultMTU
	if below := b.mtuBelow(w, f.HostParent, f.Parent); below != 0 && !kind.byRoute {
		mtu = below - f.headers(l)
	} else if kind.Here { // one in UDP takes nothing off
		mtu -= f.headers(l)
	}
	return kind.sizeOn(mtu, l)
}

// sizedAsNew returns an interface that is made, and what it is to be: a tunnel in a sandbox that
// stands would get its MTU by the way to its other end, which there is not yet in a new one.
func (b *builder) sizedAsNew(w *Sandbox, f *Iface) *Iface {
	if b.have[w.Key] == nil || f.MTU != 0 || !KindOf(f.Kind).resizes {
		return f
	}
	sized := *f
	if sized.MTU = b.tunnelMTU(w, f, &rtnl.Link{Kind: f.Kind}); sized.MTU < MinMTU {
		return f
	}
	return &sized
}

// mtuBelow is the MTU of another link, by which an interface has its own: one of the host,
// or one of its sandbox; 0 where there is none.
func (b *builder) mtuBelow(w *Sandbox, host *rtnl.Link, name string) int {
	if host != nil {
		if f := b.machine.Iface(host.Name); f != nil {
			return b.mtuAfter(b.machine, f)
		}
		return host.MTU
	}
	if f := w.Iface(name); f != nil {
		return b.mtuAfter(w, f)
	}
	if l := b.known[w.Key].Link(name); l != nil {
		return l.MTU
	}
	return 0
}

// mtuAfter is the MTU that another interface will have.
func (b *builder) mtuAfter(w *Sandbox, f *Iface) int {
	l, tag, had := b.hadAsked(w, f)
	at := end{w.Key, f.Name}
	if w.Prune && tag.Origin != Host && tag.Origin != Kept && f.losesMTU(l, &tag, had) && !b.sizing[at] {
		b.sizing[at] = true // links may lead back to it, which is refused later
		defer delete(b.sizing, at)
		if mtu := b.usualMTU(w, f, l); mtu != 0 {
			return mtu
		}
	}
	if mtu := b.trails(w, f); mtu != 0 {
		return mtu
	}
	return f.lowestMTU(b.known[w.Key], b.is[at].link)
}

// losesMTU reports whether an interface gets the MTU that it has without being asked.
func (f *Iface) losesMTU(l *rtnl.Link, tag *Tag, had Asked) bool {
	return f.MTU == 0 && (had.has(askedMTU) || had.has(followsPorts) && l.MTU == tag.MTU)
}

// kindOf is the type of a link that is wanted, or there.
func (b *builder) kindOf(w *Sandbox, name string) string {
	if f := w.Iface(name); f != nil && f.Kind != "" {
		return f.Kind
	}
	if l := b.known[w.Key].Link(name); l != nil {
		return l.Kind
	}
	return ""
}

// usualVLANs are those of a bridge, or of a port of one, that filters them.
func (b *builder) usualVLANs(w *Sandbox, f *Iface, l *rtnl.Link) *VLANs {
	bridge := b.index[end{w.Key, f.Name}]
	if l.Bridge == nil {
		if f.Master == "" || l.Port == nil {
			return nil
		}
		bridge = b.index[end{w.Key, f.Master}]
	}
	if !b.bridgeIs(w, bridge, rtnl.BridgeVLANFiltering, 1) {
		return nil
	}
	return b.firstVLANs(w, bridge)
}
