package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// machine is what the kernel holds of links as far as names are concerned: one name is
// there once in a namespace, a move sets a link down, a vlan goes with what it is on, and
// before Linux 6.2 a link that is up keeps its name.
type machine map[place]simple

type simple struct {
	name  string
	up    bool
	below int // of a vlan
}

func (m machine) do(op Op) error {
	index, _ := on(op.Do)
	at := place{op.NS, index}
	free := func(ns, name string) error {
		for p, l := range m {
			if p.ns == ns && l.name == name {
				return fmt.Errorf("%s in %q is %d", name, ns, p.index)
			}
		}
		return nil
	}
	switch a := op.Do.(type) {
	case NewLink:
		ns, below := op.NS, a.Link.Parent
		if a.In != nil {
			ns, below = *a.In, 0
		}
		err := free(ns, a.Link.Name)
		m[place{ns, a.Link.Index}] = simple{name: a.Link.Name, below: below}
		return err
	case DelLink:
		delete(m, at)
	case SetLink:
		l, there := m[at]
		if !there {
			return nil // gone
		}
		if a.To != nil {
			if err := free(*a.To, a.Link.Name); err != nil {
				return err
			}
			delete(m, at)
			l.up, l.name, at = false, a.Link.Name, place{*a.To, a.Link.NewIndex}
		} else if name := a.Link.Name; name != "" && (name != l.name || l.up) {
			if l.up && !RenamesUp {
				return fmt.Errorf("%s in %q is up", l.name, op.NS)
			}
			if err := free(op.NS, name); err != nil && name != l.name {
				return err
			}
			l.name = name
		}
		m[at] = l
		if a.Link.Up != nil {
			m.set(at, *a.Link.Up)
		}
	}
	return nil
}

// set sets a link up or down, and with it the vlans on it.
func (m machine) set(at place, up bool) {
	l := m[at]
	l.up = up
	m[at] = l
	for p, v := range m {
		if p.ns == at.ns && v.below == at.index {
			m.set(p, up)
		}
	}
}

// TestNamesComeBack has each change of names fail after each of its steps, on kernels that
// rename a link that is up and on those that do not.
func TestNamesComeBack(t *testing.T) {
	const box, other = "/run/netns/a", "/run/netns/b"
	usual := RenamesUp
	t.Cleanup(func() { RenamesUp = usual })
	lo := rtnl.Link{Index: loopback, Name: "lo", Flags: linux.IFF_UP | linux.IFF_LOOPBACK, Alias: SandboxTag{}.String()}
	host := &rtnl.Link{Index: 7, Name: "eth0", Flags: linux.IFF_UP}
	vlan := func(index int, name string, id int) rtnl.Link {
		return rtnl.Link{Index: index, Name: name, Kind: "vlan", Flags: linux.IFF_UP, Parent: 7, ParentNS: true, Data: rtnl.LinkData{VLAN: id},
			Alias: Tag{Origin: Made, Source: name}.String()}
	}
	want := func(name string, id int) Iface {
		return Iface{Name: name, Kind: "vlan", HostParent: host, Data: rtnl.LinkData{VLAN: id}}
	}
	stacked := func(l rtnl.Link, on int) rtnl.Link {
		l.Parent, l.ParentNS = on, false
		return l
	}
	atop := func(f Iface, on string) Iface {
		f.HostParent, f.Parent = nil, on
		return f
	}
	comes := func(f Iface, from string, l rtnl.Link) Iface {
		f.Comes = &HostLink{Link: l, In: &Inside{Key: from, Link: l}}
		return f
	}
	kept := rtnl.Link{Index: 12, Name: "own", Flags: linux.IFF_UP, MTU: 1500, Alias: Tag{Origin: Kept, Source: "was", MTU: 1500, Up: true}.String()}
	nic := rtnl.Link{Index: 8, Name: "eth1", Flags: linux.IFF_UP}
	for _, x := range []struct {
		what         string
		a, b         []rtnl.Link
		wantA, wantB []Iface
	}{
		{"another name", []rtnl.Link{vlan(9, "x", 1)}, nil, []Iface{want("y", 1)}, nil},
		{"each other's names", []rtnl.Link{vlan(9, "x", 1), vlan(10, "y", 2)}, nil, []Iface{want("y", 1), want("x", 2)}, nil},
		{"a new link gets the name", []rtnl.Link{vlan(9, "x", 1)}, nil, []Iface{want("y", 1), want("x", 2)}, nil},
		{"a link of the host gets the name", []rtnl.Link{vlan(9, "x", 1)}, nil, []Iface{want("y", 1), {Name: "x", From: &HostLink{Link: nic}}}, nil},
		{"a link of another sandbox gets the name", []rtnl.Link{vlan(9, "x", 1)}, []rtnl.Link{vlan(9, "x", 2)},
			[]Iface{want("y", 1), comes(want("x", 2), other, vlan(9, "x", 2))}, nil},
		{"links of two sandboxes get each other's places", []rtnl.Link{vlan(9, "x", 1)}, []rtnl.Link{vlan(10, "x", 2)},
			[]Iface{comes(want("x", 2), other, vlan(10, "x", 2))}, []Iface{comes(want("x", 1), box, vlan(9, "x", 1))}},
		{"links of two sandboxes get each other's places, beside one that gets the name", []rtnl.Link{vlan(9, "x", 1), vlan(11, "y", 3)}, []rtnl.Link{vlan(10, "x", 2)},
			[]Iface{want("x", 3), comes(want("y", 2), other, vlan(10, "x", 2))}, []Iface{comes(want("y", 1), box, vlan(9, "x", 1))}},
		{"one on another", []rtnl.Link{vlan(9, "x", 1), stacked(vlan(10, "y", 2), 9)}, nil, []Iface{want("z", 1), atop(want("x", 2), "z")}, nil},
		{"one on another, with each other's names", []rtnl.Link{vlan(9, "x", 1), stacked(vlan(10, "y", 2), 9)}, nil,
			[]Iface{want("y", 1), atop(want("x", 2), "y")}, nil},
		{"one that is as it was again", []rtnl.Link{kept}, nil, nil, nil},
	} {
		for _, RenamesUp = range []bool{true, false} {
			have, first := map[string]*State{box: {Links: append([]rtnl.Link{lo}, x.a...)}}, machine{{HostNS, nic.Index}: {name: nic.Name, up: true}}
			sandboxes := []Sandbox{{Key: box, Prune: true, Ifaces: x.wantA}}
			if x.b != nil {
				have[other] = &State{Links: append([]rtnl.Link{lo}, x.b...)}
				sandboxes = append(sandboxes, Sandbox{Key: other, Prune: true, Ifaces: x.wantB})
			}
			for key, s := range have {
				for _, l := range s.Links {
					below := 0
					if isStacked(&l) {
						below = l.Parent
					}
					first[place{key, l.Index}] = simple{l.Name, l.Up(), below}
				}
			}
			ops := build(t, sandboxes, have)
			for n := range len(ops) + 1 {
				m := maps.Clone(first)
				var undo []Op
				for _, op := range ops[:n] {
					if err := m.do(op); err != nil {
						t.Errorf("%s, RenamesUp %v: %v", x.what, RenamesUp, err)
					}
					undo = slices.Concat(op.Undo, undo)
				}
				if slices.ContainsFunc(ops[:n], func(op Op) bool { return op.Last }) {
					continue
				}
				InTurn(undo)
				for _, op := range undo {
					if err := m.do(op); err != nil {
						t.Errorf("%s, RenamesUp %v, back after %d of %d: %v", x.what, RenamesUp, n, len(ops), err)
					}
				}
				if !maps.Equal(m, first) {
					t.Errorf("%s, RenamesUp %v, back after %d of %d: there is %v, and was %v", x.what, RenamesUp, n, len(ops), m, first)
				}
			}
		}
	}
}
