package plan

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// known is a state by what is asked of it again and again, so that a plan takes
// a time that grows with its size and no faster.
type known struct {
	*State
	index  map[int]*rtnl.Link
	name   map[string]*rtnl.Link
	first  map[int]string        // what those are called that are to be called otherwise
	source map[string]*rtnl.Link // those that osl holds, by the name they are known by
	tags   map[int]Tag           // of osl's links
	addrs  map[int][]rtnl.Addr   // by link, in the kernel's order
	at     map[address]rtnl.Addr
	six    map[address]rtnl.Addr // of IPv6, by the address alone: a link has each once, with whatever length
	routes map[RouteKey][]rtnl.Route
	on     map[int][]rtnl.Route // osl's routes that go with a link
	others map[RouteKey][]rtnl.Route
	// othersOn are the routes of others that go with a link, and do not come by themselves.
	othersOn map[int][]rtnl.Route
	stacked  map[int][]*rtnl.Link        // by the link that they are on
	sourced  map[netip.Addr][]rtnl.Route // with an address as their source
	neighs   map[neighKey]rtnl.Neigh
	linkNbs  map[int][]rtnl.Neigh
	seats    map[seat]rtnl.Neigh
	// By their IDs, those of osl and of others.
	nexthops, otherNexthops map[uint32]rtnl.Nexthop
}

// address names an address of a link.
type address struct {
	index  int
	prefix netip.Prefix
}

// neighKey is what there is one neighbour or forwarding entry for.
type neighKey struct {
	index int
	ip    netip.Addr
	mac   string // of forwarding entries, which have no ip here if they are for one address
	// Of an entry of a bridge; a multicast one has an ip or a mac.
	vlan        uint16
	bridge, mdb bool
}

func keyOf(n rtnl.Neigh) neighKey {
	if n.FDB {
		k := neighKey{index: n.Index, mac: string(n.MAC), vlan: n.VLAN, bridge: n.Bridge != 0, mdb: n.MDB}
		if n.MDB || n.ForAll() {
			k.ip = n.IP
		}
		return k
	}
	return neighKey{index: n.Index, ip: n.IP}
}

func know(s *State) *known {
	copied := *s // names in it change while a plan is made
	copied.Links = slices.Clone(s.Links)
	s = &copied
	k := &known{State: s, index: map[int]*rtnl.Link{}, name: map[string]*rtnl.Link{}, source: map[string]*rtnl.Link{}, tags: map[int]Tag{},
		addrs: map[int][]rtnl.Addr{}, at: map[address]rtnl.Addr{}, six: map[address]rtnl.Addr{}, routes: map[RouteKey][]rtnl.Route{}, on: map[int][]rtnl.Route{},
		others: map[RouteKey][]rtnl.Route{}, othersOn: map[int][]rtnl.Route{}, sourced: map[netip.Addr][]rtnl.Route{}, stacked: map[int][]*rtnl.Link{}, neighs: map[neighKey]rtnl.Neigh{}, linkNbs: map[int][]rtnl.Neigh{}, seats: map[seat]rtnl.Neigh{},
		nexthops: map[uint32]rtnl.Nexthop{}, otherNexthops: map[uint32]rtnl.Nexthop{}}
	for i := range s.Links {
		l := &s.Links[i]
		k.index[l.Index], k.name[l.Name] = l, l
		if isStacked(l) {
			k.stacked[l.Parent] = append(k.stacked[l.Parent], l)
		}
		t, ok := ParseTag(l.Alias)
		if !ok {
			continue
		}
		k.tags[l.Index] = t
		if t.Origin != Kept && (k.source[t.Source] == nil || l.Name == t.Source) {
			k.source[t.Source] = l
		}
	}
	for _, a := range s.Addrs {
		k.addrs[a.Index] = append(k.addrs[a.Index], a)
		k.at[address{a.Index, a.Prefix}] = a
		if ip := a.Prefix.Addr(); ip.Is6() {
			k.six[address{a.Index, netip.PrefixFrom(ip, 128)}] = a
		}
	}
	k.knowRoutes()
	k.knowNexthops()
	for _, n := range s.Neighs {
		if n.Bridge != 0 {
			n.BridgeName = k.nameOf(n.Bridge)
			if !n.MDB {
				k.seats[seatOf(n)] = n
			}
		}
		k.neighs[keyOf(n)] = n
		k.linkNbs[n.Index] = append(k.linkNbs[n.Index], n)
	}
	return k
}

// Link returns the link with a name, nil if there is none.
func (k *known) Link(name string) *rtnl.Link { return k.name[name] }

// ByIndex returns the link with an index, nil if there is none.
func (k *known) ByIndex(index int) *rtnl.Link { return k.index[index] }

// nameOf returns the name of a link, empty if there is none.
func (k *known) nameOf(index int) string {
	if l := k.index[index]; l != nil {
		return l.Name
	}
	return ""
}

// part returns what hangs on one link, for the functions that take a state.
func (k *known) part(l *rtnl.Link) *State {
	return &State{Links: []rtnl.Link{*l}, Addrs: k.addrs[l.Index], Routes: k.on[l.Index], Others: k.othersOn[l.Index], Neighs: k.linkNbs[l.Index], Qdiscs: k.Qdiscs, VLANs: k.VLANs}
}

func sameEntry(a, b rtnl.Neigh) bool {
	return bytes.Equal(a.MAC, b.MAC) && a.IP == b.IP && a.Bridge == b.Bridge
}
