package plan

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// planOf makes a plan of bytes, three for a step: where, what, on which link.
// What nothing takes back comes last, as in every plan.
func planOf(b []byte) (ops []Op) {
	spaces := []string{HostNS, "/run/netns/a", "/run/netns/b"}
	var first, last []Op
	for ; len(b) >= 3 && len(ops) < 40; b = b[3:] {
		op := Op{NS: spaces[int(b[0])%len(spaces)], Dev: "eth0"}
		there, index := spaces[int(b[0]/3)%len(spaces)], int(b[2])%4+2
		alias, up := "osl1;o=h;s=x", b[2]&4 != 0
		addr := rtnl.Addr{Index: index, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, b[2], 1}), 24), Proto: rtnl.Protocol}
		undo := func(a Action) { op.Undo = []Op{{NS: op.NS, Dev: op.Dev, Do: a}} }
		switch b[1] % 12 {
		case 0:
			op.Do = MakeNS{}
			if op.NS != HostNS {
				first = append(first, op)
			}
			continue
		case 1:
			op.Do = NewLink{Link: rtnl.LinkNew{Index: index, Name: "eth0", Kind: "bridge"}}
			undo(DelLink{index})
		case 2:
			op.Do = NewLink{Link: rtnl.LinkNew{Index: index, Name: "eth0", Kind: "veth", Peer: &rtnl.Peer{Index: index + 9, Name: "eth1"}}, PeerNS: &there}
			undo(DelLink{index})
		case 3:
			if op.NS == there {
				continue
			}
			op.Do = SetLink{To: &there, Link: rtnl.LinkSet{Index: index, NewIndex: index + 20, Alias: &alias}}
			op.Undo = []Op{{NS: there, Do: SetLink{To: &op.NS, Link: rtnl.LinkSet{Index: index + 20, NewIndex: index}}}}
		case 4:
			op.Do = SetLink{Link: rtnl.LinkSet{Index: index, Up: &up}}
			undo(SetLink{Link: rtnl.LinkSet{Index: index, Up: &up}})
		case 5:
			op.Do = NewAddr{addr}
			undo(DelAddr{addr})
		case 6:
			op.Do = IPv6{Index: index, On: up}
			undo(IPv6{Index: index, On: !up})
		case 7:
			op.Do = Sysctl{Setting{Path: "ipv4/conf/%s/arp_notify", Value: "1"}, index}
		case 8:
			op.Do = ReadLink{index}
		case 9:
			op.Do = SetLink{Link: rtnl.LinkSet{Index: index, Alias: &alias}}
			undo(SetLink{Link: rtnl.LinkSet{Index: index, Alias: &alias}})
		case 10:
			last = append(last, Op{NS: op.NS, Dev: op.Dev, Do: DelLink{index}, Last: true})
			continue
		case 11:
			op.Do = NewTun{Index: index, Name: "tun0"}
			undo(DelLink{index})
		}
		ops = append(ops, op)
	}
	return slices.Concat(first, ops, last)
}

// Whatever the plan, its journal keeps all steps and their order, adds nothing
// but records, which can be read, and takes each away again: the leader's first
// and by itself, before anything is done that can not be taken back.
func FuzzJournal(f *testing.F) {
	f.Add([]byte{1, 5, 1, 4, 6, 2, 1, 7, 1, 1, 4, 1}, false)
	f.Add([]byte{1, 0, 0, 1, 1, 0, 2, 0, 0, 5, 2, 1, 1, 9, 0, 2, 10, 1}, true)
	f.Add([]byte{0, 3, 0, 3, 3, 1, 2, 10, 1, 1, 10, 2, 0, 4, 5, 1, 6, 4}, true)
	f.Add([]byte{2, 11, 0, 1, 8, 1, 1, 5, 1, 2, 5, 1}, true)
	f.Fuzz(func(t *testing.T, b []byte, several bool) {
		ops, c := planOf(b), Commit{}
		making := func(op Op) bool { _, is := op.Do.(MakeNS); return is }
		if several || slices.ContainsFunc(ops, making) {
			c = NewCommit("/run/netns/a")
		}
		made := slices.ContainsFunc(ops, func(op Op) bool { return making(op) && op.NS == c.Leader })
		undoes := func(op Op) bool {
			a, is := op.Do.(NewAltName)
			return is && strings.HasPrefix(a.Names[0], recordPrefix+string(Undo)) && (op.NS == c.Leader || c.ID == "")
		}
		// Where a link goes back from a leader that is made, its record is what says that the
		// change has not happened.
		outlasts := made && slices.ContainsFunc(ops, func(op Op) bool {
			return slices.ContainsFunc(op.Undo, func(u Op) bool {
				set, is := u.Do.(SetLink)
				return is && set.To != nil && *set.To != HostNS && u.NS != HostNS && (*set.To == c.Leader || u.NS == c.Leader)
			})
		})
		got := Journal(ops, c, func(_, path string, _ int) (string, bool) { return "0", path != "" })
		// A leader that is made, and has nothing to undo, has no record of that.
		next, gone := 0, !slices.ContainsFunc(got, undoes)
		if gone && !made && len(got) > len(ops) {
			t.Fatal("the leader has no record")
		}
		put, held := map[string][]string{}, map[string]bool{}
		for _, op := range got {
			if next < len(ops) && reflect.DeepEqual(op, ops[next]) {
				if op.Last && len(held) > 0 && !gone {
					t.Fatalf("step %d can not be taken back, and the change has not happened", next)
				}
				next++
				continue
			}
			switch a := op.Do.(type) {
			case NewAltName:
				put[op.NS] = append(put[op.NS], a.Names...)
				held[op.NS+" "+strings.Join(a.Names, " ")] = true
				if !op.Alone {
					t.Fatal("a record is written together with other steps")
				}
			case DelAltName:
				if !held[op.NS+" "+strings.Join(a.Names, " ")] {
					t.Fatalf("a record is taken away that is not there: %+v", a)
				}
				delete(held, op.NS+" "+strings.Join(a.Names, " "))
				if !gone && (!op.Alone || op.Commit == (made && !outlasts && op.NS == "/run/netns/a")) {
					t.Fatal("a record goes before the leader's, or that together with other steps")
				}
				gone = true
			default:
				t.Fatalf("a step was added: %+v", op)
			}
			if !op.Quiet {
				t.Fatalf("a person is shown %+v", op)
			}
		}
		if next != len(ops) || len(held) > 0 {
			t.Fatalf("%d of %d steps are in the plan, %d records stay", next, len(ops), len(held))
		}
		for ns, names := range put {
			for _, n := range ParseRecords(names) {
				if !n.Whole || n.ID == "" {
					t.Fatalf("the record of %s comes back as %+v", ns, n)
				}
			}
		}
	})
}
