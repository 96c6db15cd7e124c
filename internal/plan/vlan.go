package plan

import (
	"fmt"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// VLANs are those that a port of a bridge, or a bridge itself, is in, by their
// numbers.
type VLANs [rtnl.MaxVLAN + 1]vlanBits

// vlanBits says how it is in one.
type vlanBits byte

const (
	inVLAN vlanBits = 1 << iota
	leavesUntagged
	isPVID
)

// Add puts it into VLANs that it is not in yet, and returns the first in which it is,
// 0 for none.
func (s *VLANs) Add(first, last int, untagged bool) (twice int) {
	bits := inVLAN
	if untagged {
		bits |= leavesUntagged
	}
	for id := first; id <= last; id++ {
		if s[id] != 0 {
			return id
		}
		s[id] = bits
	}
	return 0
}

// SetPVID makes one that of frames without a tag. One that it is not in it gets into,
// untagged.
func (s *VLANs) SetPVID(id int) {
	if s[id] == 0 {
		s[id] = inVLAN | leavesUntagged
	}
	s[id] |= isPVID
}

func vlansOf(list []rtnl.VLAN) *VLANs {
	s := &VLANs{}
	for _, v := range list {
		s.Add(int(v.First), int(v.Last), v.Untagged)
		if v.PVID {
			s.SetPVID(int(v.First))
		}
	}
	return s
}

// List returns them as ranges: those for which is holds.
func (s *VLANs) List(is func(id int) bool) (list []rtnl.VLAN) {
	for id := 1; id <= rtnl.MaxVLAN; id++ {
		if !is(id) {
			continue
		}
		v := rtnl.VLAN{First: uint16(id), Last: uint16(id), Untagged: s[id]&leavesUntagged != 0, PVID: s[id]&isPVID != 0}
		if n := len(list) - 1; n >= 0 && !v.PVID && !list[n].PVID && int(list[n].Last) == id-1 && list[n].Untagged == v.Untagged {
			list[n].Last = uint16(id)
			continue
		}
		list = append(list, v)
	}
	return list
}

// Member says what is in VLANs.
type Member struct {
	Index int
	Self  bool // the bridge itself, not a port of one
}

type (
	// SetVLANs puts a port of a bridge into VLANs, DelVLANs takes it out of them.
	SetVLANs struct {
		Member
		List []rtnl.VLAN
	}
	DelVLANs struct {
		Member
		List []rtnl.VLAN
	}
)

func (a SetVLANs) Request(FDs) rtnl.Request { return rtnl.SetVLANs(a.Index, a.Self, a.List) }
func (a DelVLANs) Request(FDs) rtnl.Request { return rtnl.DelVLANs(a.Index, a.Self, a.List) }

// Command returns the commands that do the same.
func (a SetVLANs) Command(dev string) string { return vlanCommands("add", dev, a.Self, a.List) }

// Command returns the commands that do the same.
func (a DelVLANs) Command(dev string) string { return vlanCommands("del", dev, a.Self, a.List) }

func vlanCommands(verb, dev string, self bool, list []rtnl.VLAN) string {
	var lines []string
	for _, v := range list {
		line := fmt.Sprintf("bridge vlan %s dev %s vid %s", verb, shell.Quote(dev), vlanText(v))
		if v.PVID && verb == "add" {
			line += " pvid"
		}
		if v.Untagged && verb == "add" {
			line += " untagged"
		}
		if self {
			line += " self"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func vlanText(v rtnl.VLAN) string {
	if v.First == v.Last {
		return fmt.Sprint(v.First)
	}
	return fmt.Sprintf("%d-%d", v.First, v.Last)
}

// toVLANs returns what brings a port, or a bridge, from some VLANs to others. What
// comes is first, so that there is always a PVID where there is one before and after.
func toVLANs(key, dev string, of Member, from, to *VLANs) (ops []Op) {
	if list := to.List(func(id int) bool { return to[id] != 0 && to[id] != from[id] }); len(list) > 0 {
		ops = append(ops, Op{NS: key, Dev: dev, Do: SetVLANs{of, list}})
	}
	if list := from.List(func(id int) bool { return from[id] != 0 && to[id] == 0 }); len(list) > 0 {
		ops = append(ops, Op{NS: key, Dev: dev, Do: DelVLANs{of, list}})
	}
	return ops
}

// exactlyVLANs returns what brings a port to VLANs, whatever it is in.
func exactlyVLANs(key, dev string, of Member, to *VLANs) (ops []Op) {
	if list := to.List(func(id int) bool { return to[id] != 0 }); len(list) > 0 {
		ops = append(ops, Op{NS: key, Dev: dev, Do: SetVLANs{of, list}})
	}
	none := VLANs{}
	if list := none.List(func(id int) bool { return to[id] == 0 }); len(list) > 0 {
		ops = append(ops, Op{NS: key, Dev: dev, Do: DelVLANs{of, list}})
	}
	return ops
}
