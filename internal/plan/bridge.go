package plan

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

const (
	// defaultMTU is what the kernel gives a link, if nothing below it has less.
	defaultMTU = 1500
	// MinIPv6 is the MTU below which the kernel takes IPv6 from a link.
	MinIPv6 = 1280
)

// starves reports whether a link becomes a port with so low an MTU that its
// bridge, which follows its ports, loses the IPv6 that it has and keeps.
func (b *builder) starves(w *Sandbox, f *Iface, s *known, l *rtnl.Link, master int) bool {
	m := s.ByIndex(master)
	if m == nil || m.Kind != "bridge" || m.Inet.DisableIPv6 || f.lowestMTU(s, l) >= MinIPv6 {
		return false
	}
	if l != nil && l.Master == master && l.MTU < MinIPv6 {
		return false // it is one, and the bridge has IPv6 all the same
	}
	if t, _ := ParseTag(m.Alias); t.Origin == Made && t.MTU != 0 {
		return false
	}
	i := slices.IndexFunc(w.Ifaces, func(o Iface) bool { return b.index[end{w.Key, o.Name}] == master })
	return i < 0 || w.Ifaces[i].MTU == 0 && (w.Ifaces[i].HasIPv6() || foreignIPv6(s, m))
}

// lowestMTU returns the MTU that an interface is to have: l is the link that it
// is already, if any.
func (i *Iface) lowestMTU(s *known, l *rtnl.Link) int {
	switch parent := s.Link(i.Parent); {
	case i.MTU != 0:
		return i.MTU
	case l != nil:
		return l.MTU
	case i.From != nil:
		return i.From.Link.MTU
	case i.HostParent != nil:
		return i.HostParent.MTU - i.headers(nil)
	case i.Parent != "" && parent != nil:
		return parent.MTU - i.headers(nil)
	}
	return defaultMTU
}

// otherMTU returns what a bridge is to have for a moment before it is given an
// MTU. The kernel takes one for the user's, which stays when ports come and go,
// only where it is a change, after the bridge was made.
func otherMTU(mtu int) int { return mtu ^ 1 }

// randomMAC returns a hardware address by chance.
func randomMAC() net.HardwareAddr {
	return LocalMAC(binary.BigEndian.AppendUint64(nil, rand.Uint64()))
}

// reports finds the bridges that stay with the MTU of their ports, where these change.
func (b *builder) reports(w *Sandbox, k *known) {
	b.reported = map[int]bool{}
	note := func(bridge int, end bool) {
		if f := b.wanted[bridge]; f != nil && f.Kind == "bridge" && f.MTU == 0 {
			b.reported[bridge] = b.reported[bridge] || end
		}
	}
	for i := range k.Links {
		l := &k.Links[i]
		for p := range k.below(l) {
			if b.resized[place{w.Key, p.Index}] != 0 {
				note(l.Master, false)
			}
		}
		if b.gone[l.Index] {
			note(l.Master, true)
		}
	}
	for index := range b.away[w.Key] {
		note(b.full[w.Key].ByIndex(index).Master, false)
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		was, is := 0, b.index[end{w.Key, f.Master}]
		if l := b.is[end{w.Key, f.Name}].link; l != nil {
			was = l.Master
		}
		if was != is {
			note(was, false)
			note(is, false)
		}
	}
}

// keepSizes has a change that fails put routes back whose MTU the kernel changes with that
// of a bridge, by ports that come and go on the way there or back.
func (b *builder) keepSizes(w *Sandbox, k *known) {
	keep := Op{NS: w.Key, Dev: "lo", Do: ReadLink{loopback}, Quiet: true, Half: true}
	for _, r := range k.Routes {
		if sizedByLink(r) && slices.ContainsFunc(b.ways(r), func(index int) bool { _, reported := b.reported[index]; return reported }) {
			keep.Undo = append(keep.Undo, Op{NS: w.Key, Dev: k.nameOf(r.Index), Do: ReplaceRoute{r}})
		}
	}
	if len(keep.Undo) > 0 {
		b.aside = append([]Op{keep}, b.aside...)
	}
}

// resize plans to say the routes again whose MTU follows that of a bridge, when the ports
// that go have left it: that they leave can be taken back if a route is refused, their end not.
func (b *builder) resize(w *Sandbox, k *known) {
	follows := func(r Route) bool {
		return slices.ContainsFunc(b.ways(r.Route), func(index int) bool { return b.reported[index] })
	}
	if !slices.ContainsFunc(b.sized, follows) {
		return
	}
	for _, l := range k.topFirst(b.gone) {
		if _, osls := k.tags[l.Index]; osls && b.reported[l.Master] {
			none := 0
			b.remove = append(b.remove, Op{NS: w.Key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Master: &none}}, Half: true,
				Undo: append([]Op{{NS: w.Key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Master: &l.Master}}}}, portBack(w.Key, l, k.part(l))...)})
		}
	}
	for _, r := range b.sized {
		if follows(r) {
			b.remove = append(b.remove, Op{NS: w.Key, Dev: r.Dev, Do: ReplaceRoute{r.Route}}) // keepSizes takes it back
		}
	}
}

// lonely returns the bridge or bond whose last port goes, if a link is that or on it: with the
// port it loses its carrier. What never had one the kernel is asked about.
func (b *builder) lonely(key string, k *known, index int) (master *rtnl.Link) {
	full := b.full[key]
	if full == nil {
		full = k
	}
	for m := range k.below(k.ByIndex(index)) {
		if !receives(m.Kind) {
			continue
		}
		ports := map[int]bool{}
		for i := range full.Links {
			if l := &full.Links[i]; l.Master == m.Index {
				ports[l.Index] = !b.gone[l.Index]
			}
		}
		if len(ports) == 0 {
			continue
		}
		for _, list := range b.lists() {
			for _, op := range list {
				if s, is := op.Do.(SetLink); is && op.NS == key && s.Link.Master != nil {
					ports[s.Link.Index] = *s.Link.Master == m.Index
				}
			}
		}
		if !slices.Contains(slices.Collect(maps.Values(ports)), true) {
			return m
		}
	}
	return nil
}

// ways returns the links that a route may lead by way of, as far as the ports of bridges
// matter: of some the kernel finds it, or a next hop that is an object says it.
func (b *builder) ways(r rtnl.Route) []int {
	if list := r.Links(); len(list) > 0 {
		return list
	}
	return slices.Collect(maps.Keys(b.reported))
}
