package plan

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// manyOf is a sandbox with n of everything, and the state that it is in when it is
// built.
func manyOf(n int) ([]Sandbox, map[string]*State) {
	w := Sandbox{Key: "/run/netns/big", Prune: true}
	s := &State{Links: []rtnl.Link{{Index: 1, Name: "lo", Flags: linux.IFF_UP, Alias: SandboxTag{}.String(), Inet: rtnl.Inet{DisableIPv6: true}}},
		Others: []rtnl.Route{}}
	at := func(net, i, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(net), byte(i >> 16), byte(i >> 8), byte(i)}), bits)
	}
	first := Iface{Name: "br0", Kind: "bridge"}
	index := firstIndex
	link := func(f Iface) {
		w.Ifaces = append(w.Ifaces, f)
		s.Links = append(s.Links, rtnl.Link{Index: index, Name: f.Name, Kind: f.Kind, Flags: linux.IFF_UP,
			Alias: Tag{Origin: Made, Source: f.Name}.String(), Inet: rtnl.Inet{DisableIPv6: true, HasIPv6State: true}})
		index++
	}
	for i := range n {
		a := Addr{Prefix: at(10, i+1, 32)}
		first.Addrs = append(first.Addrs, a)
		s.Addrs = append(s.Addrs, a.On(firstIndex))
		r := ifaceRoute(at(20, i, 32), firstIndex)
		first.Routes = append(first.Routes, r.Dst)
		s.Routes = append(s.Routes, r)
		static := rtnl.Route{Dst: at(30, i, 32), Via: netip.MustParseAddr("10.0.0.9"), Proto: rtnl.Protocol}
		w.Routes = append(w.Routes, Route{Route: static})
		static.Index = firstIndex
		s.Routes = append(s.Routes, static)
		nb := Neigh{Dev: "br0", Neigh: rtnl.Neigh{IP: at(40, i, 32).Addr(), MAC: []byte{2, 0, 0, 0, byte(i >> 8), byte(i)}, Proto: rtnl.Protocol}}
		w.Neighs = append(w.Neighs, nb)
		nb.Index = firstIndex
		s.Neighs = append(s.Neighs, nb.Neigh)
	}
	link(first)
	for i := range n {
		link(Iface{Name: fmt.Sprint("d", i), Kind: "bridge"})
	}
	return []Sandbox{w}, map[string]*State{w.Key: s}
}

// used returns the processor time of this thread: how much else the machine has
// to do does not count.
func used() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u) // it takes no argument that could be wrong
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The work of a plan grows with its size, and no faster: of four times as much it is
// some four times, where a loop within a loop would make it sixteen.
func TestPlansGrowWithTheirSize(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cost := func(n int, have, routed bool) time.Duration {
		want, state := manyOf(n)
		changes := 0
		if !routed {
			changes = n
			unrouted(&want[0], state[want[0].Key])
		}
		if !have {
			state = nil
		}
		best := time.Hour
		for range 5 {
			runtime.GC()
			begin := used()
			ops, _, err := Build(want, state)
			took := used() - begin
			if err != nil {
				t.Fatal(err)
			}
			if have && len(ops) != changes {
				t.Fatalf("there is to change: %d steps, and not %d: %v", len(ops), changes, commands(ops[:min(len(ops), 1)]))
			}
			best = min(best, took)
		}
		return best
	}
	for _, x := range [][2]bool{{false, true}, {true, true}, {true, false}} {
		small, large := cost(2500, x[0], x[1]), cost(10000, x[0], x[1])
		t.Logf("built before %v, with routes to the subnets %v: 2,500 of each take %v, 10,000 %v", x[0], x[1], small, large)
		if large > 8*small+10*time.Millisecond {
			t.Errorf("built before %v, with routes to the subnets %v: 2,500 of each take %v, and 10,000 take %v", x[0], x[1], small, large)
		}
	}
}

// unrouted gives the links of a sandbox but the first addresses, and not the kernel's routes to their subnets.
func unrouted(w *Sandbox, s *State) {
	for i := range w.Ifaces[1:] {
		a := Addr{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{50, byte(i >> 8), byte(i), 1}), 24)}
		w.Ifaces[1+i].Addrs = []Addr{a}
		s.Addrs = append(s.Addrs, a.On(firstIndex+1+i))
	}
}
