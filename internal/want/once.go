package want

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/where"
)

// onces finds what several interfaces of a network are to have of which there can be
// one. places are where each is in the list of its sandbox.
type onces struct {
	k      Keys
	want   []plan.Sandbox
	places map[ifaceName]int
	of     map[string]*plan.Sandbox
	// Who is the first to have each.
	names, sources map[ifaceName]ifaceName
	parents        map[ifaceName]stack
	tags           map[string]ifaceName
}

// stack is what is on a parent that takes all that it hears: links of one sort, of
// which ipvlans have one mode.
type stack struct {
	first ifaceName
	f     *plan.Iface
}

func once(k Keys, want []plan.Sandbox, of map[string]*plan.Sandbox, places map[ifaceName]int) error {
	o := onces{k: k, want: want, places: places, of: of, names: map[ifaceName]ifaceName{}, sources: map[ifaceName]ifaceName{},
		parents: map[ifaceName]stack{}, tags: map[string]ifaceName{}}
	for i := range want {
		for j := range want[i].Ifaces {
			f := &want[i].Ifaces[j]
			o.names[ifaceName{want[i].Key, f.Name}] = ifaceName{want[i].Key, f.Name}
		}
	}
	for _, check := range []func(at ifaceName, f *plan.Iface) error{o.source, o.end, o.altNames, o.parent, o.master, o.tag} {
		for i := range want {
			for j := range want[i].Ifaces {
				f := &want[i].Ifaces[j]
				if err := check(ifaceName{want[i].Key, f.Name}, f); err != nil {
					return fault.At(k.at(want[i].Key), f.Name, err)
				}
			}
		}
	}
	for i := range want {
		if err := o.subnets(&want[i]); err != nil {
			return fault.At(k.at(want[i].Key), "", err)
		}
	}
	return nil
}

// say names an interface as links in a file do.
func (o *onces) say(at ifaceName) string {
	if at.key == plan.HostNS {
		return HostName + "/" + at.name
	}
	return o.k.Name(at.key) + "/" + at.name
}

// bad is an error about a field, and about an interface that was there first.
func (o *onces) bad(field string, first ifaceName, format string, args ...any) error {
	return where.In(field, "", where.Beside(o.k.at(first.key), first.name, fault.Invalidf(format, args...)))
}

// source is a link of the host that leaves it.
func (o *onces) source(at ifaceName, f *plan.Iface) error {
	if f.From == nil {
		return nil
	}
	name := ifaceName{plan.HostNS, f.From.Link.Name}
	if first, twice := o.sources[name]; twice {
		return o.bad("source", first, "the host's %q is taken into %s already", name.name, o.say(first))
	}
	if first, twice := o.names[name]; twice {
		return o.bad("source", first, "the host's %q, which comes home one day, has the name of %s, which is made there", name.name, o.say(first))
	}
	o.sources[name] = at
	return nil
}

// end is the end of a link on the host that is not among the host's interfaces.
func (o *onces) end(at ifaceName, f *plan.Iface) error {
	if f.Peer == nil || f.Peer.Claimed {
		return nil
	}
	name := ifaceName{plan.HostNS, f.Peer.Name}
	if first, twice := o.names[name]; twice {
		return o.bad("peer", first, "%s is the other end of %s already", o.say(name), o.say(first))
	}
	if first, twice := o.sources[name]; twice {
		return o.bad("peer", first, "%s has the name of a link that is taken into %s, and comes home one day", o.say(name), o.say(first))
	}
	o.names[name] = at
	return nil
}

func (o *onces) altNames(at ifaceName, f *plan.Iface) error {
	for _, alt := range f.AltNames {
		name := ifaceName{at.key, alt}
		if first, twice := o.names[name]; twice {
			return o.bad("altnames", first, "the name %q is that of %s", alt, o.say(first))
		}
		o.names[name] = at
	}
	return nil
}

// below returns what an interface is on; ok is false where that is nothing.
func below(at ifaceName, f *plan.Iface) (parent ifaceName, ok bool) {
	switch {
	case f.HostParent != nil:
		return ifaceName{plan.HostNS, f.HostParent.Name}, true
	case f.Parent != "":
		return ifaceName{at.key, f.Parent}, true
	}
	return parent, false
}

// takesAll reports whether a link hears all that its parent does: macvlan, ipvlan.
func takesAll(kind string) bool {
	return plan.IsMacvlan(kind) || plan.IsIPvlan(kind)
}

func (o *onces) parent(at ifaceName, f *plan.Iface) error {
	parent, ok := below(at, f)
	if !ok {
		return nil
	}
	if taken, is := o.sources[parent]; is {
		return o.bad("parent", taken, "the host's %q is taken into %s: what is on it is made there", parent.name, o.say(taken))
	}
	if !takesAll(f.Kind) {
		return nil
	}
	first, more := o.parents[parent]
	switch {
	case !more:
		o.parents[parent] = stack{at, f}
	case plan.IsIPvlan(first.f.Kind) != plan.IsIPvlan(f.Kind):
		return o.bad("parent", first.first, "what is on %s is of one sort, and %s is %s", o.say(parent), o.say(first.first), plan.A(first.f.Kind))
	case !plan.IsIPvlan(f.Kind):
	case first.f.Data.Mode != f.Data.Mode:
		return o.bad("mode", first.first, "all on %s have one mode, and %s has %s", o.say(parent), o.say(first.first), first.f.Data.Mode)
	case first.f.Data.Flags != f.Data.Flags:
		return o.bad("flags", first.first, "all on %s have the same flags, and %s has %q", o.say(parent), o.say(first.first), first.f.Data.Flags)
	}
	return nil
}

// master is after parent: a link of which a bridge or a bond takes all has nobody else
// that does.
func (o *onces) master(at ifaceName, f *plan.Iface) error {
	i, ok := o.places[ifaceName{at.key, f.Master}]
	if f.Master == "" || !ok {
		return nil
	}
	kind := o.of[at.key].Ifaces[i].Kind
	if kind == "bridge" && f.Kind == "bridge" {
		return where.In("master", "", fault.Invalidf("a bridge can not be a port of a bridge: link the two with a veth"))
	}
	if takes := f.Kind == "macvtap" || f.Kind == "ipvtap"; takes && (kind == "bridge" || kind == "bond") {
		return where.In("master", "", fault.Invalidf("%s hands what it gets to the program that has it open, and can not be a port of %s", plan.A(f.Kind), plan.A(kind)))
	}
	if on, is := o.parents[at]; is && (kind == "bridge" || kind == "bond") {
		return o.bad("master", on.first, "it is the parent of %s, which is %s, and can not be a port of %s beside that", o.say(on.first), plan.A(on.f.Kind), plan.A(kind))
	}
	return nil
}

// tag is the VLAN of a parent.
func (o *onces) tag(at ifaceName, f *plan.Iface) error {
	parent, ok := below(at, f)
	if !ok || f.Kind != "vlan" {
		return nil
	}
	tag := fmt.Sprintf("%s/%s/%d/%s", parent.key, parent.name, f.Data.VLAN, cmp.Or(f.Data.Protocol, "802.1q"))
	if first, twice := o.tags[tag]; twice {
		return o.bad("vlan", first, "the tag %d of %s is that of %s", f.Data.VLAN, o.say(parent), o.say(first))
	}
	o.tags[tag] = at
	return nil
}

// subnets refuses a route that the kernel makes for an address.
func (o *onces) subnets(w *plan.Sandbox) error {
	type network struct {
		dst   netip.Prefix
		table uint32
	}
	routes := map[network]plan.Route{}
	for _, r := range w.Routes {
		if r.Metric == 0 && r.Dst.Addr().Is4() {
			routes[network{r.Dst, r.Table}] = r
		}
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		if f.Down || f.Name == "lo" || len(routes)+len(f.Routes) == 0 {
			continue
		}
		at, table := ifaceName{w.Key, f.Name}, 0
		if j, ok := o.places[ifaceName{w.Key, f.Master}]; ok && w.Ifaces[j].Kind == "vrf" {
			table = w.Ifaces[j].Data.Table
		}
		for _, a := range f.Addrs {
			dst := a.Prefix.Masked()
			if a.Prefix.IsSingleIP() || a.Peer.IsValid() || a.Flags&linux.IFA_F_NOPREFIXROUTE != 0 {
				continue
			}
			bad := func(entry string) error {
				return where.In("routes", entry, fault.Invalidf("the kernel has a route to %v by the address %v of %s: leave this one out, give it a metric, or the address noprefixroute", dst, a.Prefix, o.say(at)))
			}
			if table == 0 && slices.Contains(f.Routes, dst) && dst.Addr().Is4() {
				return fault.At("", f.Name, bad(dst.String()))
			}
			if r, there := routes[network{dst, uint32(table)}]; there {
				return bad(plan.RouteEntry(dst, r.Table, r.Metric))
			}
		}
	}
	return nil
}
