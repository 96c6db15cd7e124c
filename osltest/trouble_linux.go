package osltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed59451c2b/osl"
)

// links returns the links that a and b name: each is a sandbox, one's interface
// ("web/eth0"), or a segment. An empty b is any.
func (n *Network) links(a, b string) []osl.Link {
	n.t.Helper()
	is := func(e osl.Endpoint, name string) bool {
		return name == "" || name == e.Sandbox || name == e.Sandbox+"/"+e.Interface || name == n.segments[e]
	}
	var list []osl.Link
	for _, l := range n.all() {
		if is(l[0], a) && is(l[1], b) || is(l[0], b) && is(l[1], a) {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		n.t.Fatalf("the network has no link between %s and %s", a, b)
	}
	return list
}

// all returns the links of the network as they were asked for, but for those with the
// host.
func (n *Network) all() (list []osl.Link) {
	add := func(l osl.Link) {
		for _, e := range l {
			if e.Sandbox == osl.HostName {
				return
			}
		}
		if !slices.Contains(list, osl.Link{l[1], l[0]}) { // both ends may say it
			list = append(list, l)
		}
	}
	for _, l := range n.spec.Links {
		add(l)
	}
	for _, s := range n.spec.Sandboxes {
		for _, x := range s.Interfaces {
			if x.Peer != (osl.Endpoint{}) {
				add(osl.Link{{Sandbox: s.Name, Interface: x.Name}, x.Peer})
			}
		}
	}
	slices.SortFunc(list, func(a, b osl.Link) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return list
}

// standing reads the sandboxes in which links end, as a network to be applied with a
// change: what the test itself changed in them stays.
func (n *Network) standing(links []osl.Link) (net osl.Network) {
	n.t.Helper()
	for _, l := range links {
		for _, e := range l {
			if slices.ContainsFunc(net.Sandboxes, func(s osl.Spec) bool { return s.Name == e.Sandbox }) {
				continue
			}
			open := n.sandboxes[e.Sandbox]
			if open == nil {
				n.t.Fatalf("the link %v does not end in two sandboxes of the test", l)
			}
			s, err := open.Spec(n.t.Context())
			if err != nil {
				n.t.Fatal(n.short(err.Error()))
			}
			n.hidden(&s)
			net.Sandboxes = append(net.Sandboxes, s)
		}
	}
	return net
}

// hidden sees to what can not be read of a sandbox: which offloads were asked for, and
// keys, without which a link stays as it is where it is named alone.
func (n *Network) hidden(s *osl.Spec) {
	for i := range s.Interfaces {
		x := &s.Interfaces[i]
		if asked := interfaceOf(&n.spec, osl.Endpoint{Sandbox: s.Name, Interface: x.Name}); asked != nil {
			x.Offloads = asked.Offloads
		}
		if x.WireGuard != nil {
			x.Type, x.WireGuard = "", nil
		}
	}
}

// interfaceOf returns an interface of a network, nil where that does not list it.
func interfaceOf(net *osl.Network, e osl.Endpoint) *osl.InterfaceSpec {
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		if at := slices.IndexFunc(s.Interfaces, func(x osl.InterfaceSpec) bool { return x.Name == e.Interface }); at >= 0 && s.Name == e.Sandbox {
			return &s.Interfaces[at]
		}
	}
	return nil
}

// end returns the end of a link in what standing read.
func (n *Network) end(net *osl.Network, e osl.Endpoint) *osl.InterfaceSpec {
	n.t.Helper()
	x := interfaceOf(net, e)
	if x == nil {
		n.t.Fatalf("%s has no interface %s any more", e.Sandbox, e.Interface)
	}
	return x
}

// Cut lets nothing through the links between a and b any more, without a word to
// either: packets are lost, as in a cable that is cut somewhere on its way. Each of a
// and b is a sandbox, an interface of one, "web/eth0", or a segment. Connections stay, until they
// time out by themselves. The test ends where the network has no such link.
//
// The first time, the link is taken apart: its ends become others of the same names and
// hardware addresses, with all that the network or calls of osl gave them. What other
// programs did to these interfaces goes, and a socket that is bound to one of them hears
// nothing any more. What the ends had learned of their neighbors goes too: they ask anew,
// and a question that is lost meanwhile is repeated after a second, so that what goes
// through after Heal may take that long. So it is with Partition, and with Impair where
// netem does not do it.
func (n *Network) Cut(a, b string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.relayed(n.links(a, b)) {
		r.cut.Store(true)
	}
}

// Heal takes back what Cut and Impair did to the links between a and b. A partition
// stays.
func (n *Network) Heal(a, b string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	links := n.links(a, b)
	for _, l := range links {
		if r := n.relays[l]; r != nil {
			r.cut.Store(false)
		}
	}
	n.impair(links, Impairment{})
}

// Impairment says what becomes of the packets of a link, in each direction. The zero
// value of a field leaves that as it is on a good link.
type Impairment struct {
	// Delay is how long each packet is on its way.
	Delay time.Duration
	// Jitter is what is added to Delay, at random from 0 on. Packets keep their order.
	Jitter time.Duration
	// Loss is the part of the packets that is lost, at random: 0.01 is one of a hundred.
	Loss float64
	// Rate is what goes through, in bits per second. What comes in faster waits.
	Rate int64
}

// Impair makes the links between a and b, as Cut knows them, as bad as i says, in place
// of what Impair said before. At most 1000 packets wait in each direction, for their time
// or for the rate; the others are lost. A packet is what an end hands over: one of TCP
// may be of 64 KiB, and is cut up later.
//
// It is the kernel's netem that does it, at both ends of the link, where the kernel has
// one (CONFIG_NET_SCH_NETEM) that can be told this: with a Rate of 8000 or more that is
// of whole bytes, a Delay up to an hour, and a Jitter up to four seconds. Otherwise, and
// where the network has an Impair of its own at the link, its packets pass through the
// test's process.
func (n *Network) Impair(a, b string, i Impairment) {
	n.t.Helper()
	if i.Delay < 0 || i.Jitter < 0 || !(i.Loss >= 0 && i.Loss <= 1) || i.Rate < 0 {
		n.t.Fatalf("no link can be like this: %+v", i)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.impair(n.links(a, b), i)
}

// noNetem is whether the kernel refused one.
var noNetem atomic.Bool

// impair makes links as bad as i says, by netem where that can be, else by relays.
func (n *Network) impair(links []osl.Link, i Impairment) {
	n.t.Helper()
	rest := links
	if i != (Impairment{}) && !noNetem.Load() {
		rest = n.byNetem(links, i)
	}
	was := slices.DeleteFunc(slices.Clone(rest), func(l osl.Link) bool { return !n.netem[l] })
	if err := n.setNetem(was, nil); err != nil {
		n.t.Fatal(n.short(err.Error()))
	}
	if i != (Impairment{}) {
		n.relayed(rest)
	}
	for _, l := range links {
		r := n.relays[l]
		switch {
		case r == nil:
		case n.netem[l]:
			r.impair.Store(&Impairment{})
		default:
			r.impair.Store(&i)
		}
	}
}

// byNetem has the kernel impair links, and returns those of which it can not.
func (n *Network) byNetem(links []osl.Link, i Impairment) (rest []osl.Link) {
	n.t.Helper()
	theirs := func(l osl.Link) bool { // of the network, which is not for us to change
		return slices.ContainsFunc(l[:], func(e osl.Endpoint) bool {
			x := interfaceOf(&n.spec, e)
			return x != nil && x.Impair != nil
		})
	}
	ours := slices.DeleteFunc(slices.Clone(links), theirs)
	err := n.setNetem(ours, i.netem())
	switch {
	case err == nil:
		return slices.DeleteFunc(slices.Clone(links), func(l osl.Link) bool { return !theirs(l) })
	case errors.Is(err, osl.ErrUnsupported):
		noNetem.Store(true)
	case !errors.Is(err, osl.ErrInvalid):
		n.t.Fatal(n.short(err.Error()))
	}
	return links
}

// setNetem gives the ends of links what i says, nil for none.
func (n *Network) setNetem(links []osl.Link, i *osl.ImpairSpec) error {
	n.t.Helper()
	if len(links) == 0 {
		return nil
	}
	net := n.standing(links)
	for _, l := range links {
		for _, e := range l {
			n.end(&net, e).Impair = i
		}
	}
	if _, err := n.base.Apply(n.t.Context(), net); err != nil {
		return err
	}
	for _, l := range links {
		n.netem[l] = i != nil
	}
	return nil
}

// orderly is a rate that holds nothing up: where a netem has one, a packet does not pass
// another by its jitter.
const orderly = 1e12

// netem says as a netem has it what becomes of packets.
func (i Impairment) netem() *osl.ImpairSpec {
	s := &osl.ImpairSpec{Delay: osl.Duration(i.Delay + i.Jitter/2), Jitter: osl.Duration(i.Jitter / 2), Loss: osl.Percent(i.Loss * 100),
		Rate: osl.Rate(i.Rate), Limit: maxQueue}
	if s.Jitter != 0 && s.Rate == 0 {
		s.Rate = orderly
	}
	return s
}

// Partition loses what sandboxes of one group send to those of another, over whatever
// links and routers; each is in one group at most, and what is in none is reached by
// all. It goes by the addresses that they have now, of IP and ARP: one that is on
// sandboxes of two groups ends the test. It takes the place of the partition before;
// without groups there is none.
func (n *Network) Partition(groups ...[]string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	of := map[string]int{}
	var links []osl.Link
	for i, g := range groups {
		for _, name := range g {
			s := n.sandboxes[name]
			if s == nil {
				n.t.Fatalf("the network has no sandbox %q", name)
			}
			st, err := s.Inspect(n.t.Context())
			if err != nil {
				n.t.Fatal(err)
			}
			for _, x := range st.Interfaces {
				for _, p := range slices.Concat(x.Addresses, x.Aliases) {
					if was, ok := of[p.Addr().String()]; ok && was != i {
						n.t.Fatalf("%s is in two groups", p.Addr())
					}
					of[p.Addr().String()] = i
				}
			}
			for _, l := range n.links(name, "") {
				if !slices.Contains(links, l) {
					links = append(links, l)
				}
			}
		}
	}
	n.groups = of
	n.relayed(links)
	for _, r := range n.relays {
		r.groups.Store(&of)
	}
}
