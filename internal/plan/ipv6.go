package plan

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// loopback turns lo's IPv6 on while an interface has an IPv6 address.
func (b *builder) loopback(w *Sandbox, k *known, ipv6 bool) {
	lo := k.ByIndex(loopback)
	if lo == nil || slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return f.Name == "lo" }) {
		return // it was planned with the others
	}
	off := !ipv6 && HadNoIPv6(lo) && w.Prune
	if w.LoIPv6 != nil {
		ipv6, off = *w.LoIPv6, !*w.LoIPv6
	}
	again := b.reset[end{w.Key, disableIPv6("lo")}]
	if ipv6 && (lo.Inet.DisableIPv6 || again) || off && (!lo.Inet.DisableIPv6 || again) {
		b.ipv6(w.Key, "lo", lo, ipv6, k)
	}
}

// HadNoIPv6 reports whether a sandbox has IPv6 by osl alone, by what is noted on its lo:
// osl made it, or gave it the defaults of a new one when it pinned it.
func HadNoIPv6(lo *rtnl.Link) bool {
	if _, made := ParseSandboxTag(lo.Alias); made {
		return true
	}
	return slices.ContainsFunc(ParseRecords(lo.AltName), func(r Noted) bool {
		return r.Role == Found && r.Whole && slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Path == LoopbackDAD })
	})
}

// LoopbackDAD is a setting that is among those to be put back of a namespace that had no
// IPv6 when it was pinned.
const LoopbackDAD = "ipv6/conf/lo/accept_dad"

func (b *builder) ipv6(key, dev string, l *rtnl.Link, on bool, k *known) {
	b.read = append(b.read, Op{NS: key, Dev: dev, Do: ReadLink{l.Index}, Quiet: true})
	undo := []Op{{NS: key, Dev: dev, Do: IPv6{Index: l.Index, On: !on}}}
	if l.Index == loopback { // the IPv6 routes that refuse are on it, whether its IPv6 is on or not
		refuses := func(r rtnl.Route) bool { return r.Refuses() && r.Dst.Addr().Is6() }
		for _, r := range k.Routes {
			if refuses(r) {
				undo = append(undo, Op{NS: key, Do: ReplaceRoute{r}})
			}
		}
		undo = append(undo, k.back(key, l, k.Others, refuses)...)
	}
	if !on {
		undo = append(undo, addrsOf(key, l, k.part(l))...)
		b.dark[end{key, l.Name}] = true
	}
	b.decide = append(b.decide, Op{NS: key, Dev: dev, Do: IPv6{l.Index, on, l.Inet}, Undo: undo, Half: !on})
	if on {
		b.reset[end{key, "ipv6/conf/" + dev + "/accept_dad"}] = true
		b.reset[end{key, "ipv6/conf/" + dev + "/ndisc_notify"}] = true
	}
}

// foreignIPv6 reports whether others have given a link an IPv6 address that
// counts.
func foreignIPv6(k *known, l *rtnl.Link) bool {
	return slices.ContainsFunc(k.addrs[l.Index], func(a rtnl.Addr) bool {
		return a.Prefix.Addr().Is6() && !IsOslsAddr(a) && !a.Prefix.Addr().IsLinkLocalUnicast() && !a.Learned()
	})
}

func (b *builder) changeIPv6(w *Sandbox, f *Iface, k *known, l *rtnl.Link, tag Tag) {
	if f.Unlisted {
		return // nobody says anything of it
	}
	on := f.HasIPv6()
	if f.Name == "lo" {
		on = on || f.IPv6 == nil && slices.ContainsFunc(w.Ifaces, func(o Iface) bool { return o.HasIPv6() })
		if !k.made() && !on && f.IPv6 == nil {
			return
		}
	} else if !on && f.IPv6 == nil {
		// Only where nothing else has given the link an address that counts; the IPv6 of the
		// host's own links is the host's.
		if f.Stands || tag.Origin == None && !f.Keep || f.Keep && w.Key == HostNS || foreignIPv6(k, l) {
			return
		}
	}
	if on != l.Inet.DisableIPv6 && !b.reset[end{w.Key, disableIPv6(l.Name)}] {
		return
	}
	if !on && !l.Inet.HasIPv6State && f.MTU < MinIPv6 {
		return // it has none to turn off, and gets none
	}
	b.ipv6(w.Key, f.Name, l, on, k)
	if !on && b.starved(w, k, l) { // it went with the MTU
		off := &b.decide[len(b.decide)-1]
		off.Quiet, off.Undo = true, nil // see holdSizes
	}
	if !on && l.Kind == "bridge" {
		// Before a port comes that may take it: that could not be taken back.
		b.wire = append(b.wire, b.read[len(b.read)-1], b.decide[len(b.decide)-1])
		b.read, b.decide = b.read[:len(b.read)-1], b.decide[:len(b.decide)-1]
	}
}

// tooSmall says that a link which is there has, or gets as the file drops its MTU, so small
// a one that the kernel takes its IPv6, where it is to have IPv6. One that follows others,
// and keeps its own, may get another.
func (i *Iface) tooSmall(l *rtnl.Link) string {
	if l == nil || !i.HasIPv6() || l.Index == loopback {
		return ""
	}
	if i.drops.has(askedMTU) && i.MTU != 0 && i.MTU < MinIPv6 {
		return fmt.Sprintf("IPv6 needs an MTU of %d bytes, the link gets %d, as a file without mtu asks for", MinIPv6, i.MTU)
	}
	if i.MTU != 0 || l.Inet.HasIPv6State || l.MTU >= MinIPv6 || l.Kind == "bridge" || KindOf(l.Kind).sized {
		return ""
	}
	return fmt.Sprintf("IPv6 needs an MTU of %d bytes, the link has %d, which a file without mtu leaves", MinIPv6, l.MTU)
}

// starved reports whether the MTU of a link, or of one that it is on, becomes too small
// for its IPv6, which has settings also where it is off.
func (b *builder) starved(w *Sandbox, k *known, l *rtnl.Link) bool {
	if !l.Inet.HasIPv6State {
		return false
	}
	for p := range k.below(l) {
		if mtu := b.resized[place{w.Key, p.Index}]; mtu != 0 && mtu < MinIPv6 {
			return true
		}
	}
	return false
}

// revived reports whether a link gets its IPv6 by an MTU that is large enough for it.
func revived(f *Iface, l *rtnl.Link) bool {
	return !l.Inet.HasIPv6State && l.MTU < MinIPv6 && f.MTU >= MinIPv6
}

// IPv6Back returns what gives a link its IPv6 again when its MTU is large enough again:
// the kernel then makes it as if the link were new.
func IPv6Back(key string, l *rtnl.Link, s *State) (ops []Op) {
	if mode, ok := l.Options.Get(rtnl.LinkAddrGenMode); ok {
		set := rtnl.LinkSet{Index: l.Index}
		set.Options.Set(rtnl.LinkAddrGenMode, mode)
		ops = append(ops, Op{NS: key, Dev: l.Name, Do: SetLink{Link: set}})
	}
	for _, x := range []struct {
		name  string
		value int32
	}{{"accept_dad", l.Inet.AcceptDAD}, {"ndisc_notify", int32(b2i(l.Inet.NDISCNotify))}, {"accept_ra", l.Inet.AcceptRA}, {"disable_ipv6", int32(b2i(l.Inet.DisableIPv6))}} {
		ops = append(ops, Op{NS: key, Dev: l.Name, Do: Sysctl{Setting: Setting{Path: "ipv6/conf/%s/" + x.name, Value: strconv.Itoa(int(x.value))}, Index: l.Index}})
	}
	return append(ops, addrsOf(key, l, s)...)
}
