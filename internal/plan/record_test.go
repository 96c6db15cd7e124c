package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

func record() Record {
	up := true
	return Record{Role: Undo, ID: "1a2b", Parts: []string{"", "/run/netns/b"}, Steps: []Step{
		stepOf(SetLink{Link: rtnl.LinkSet{Index: 7, Name: "eth0", Up: &up}}),
		{Path: "ipv6/conf/%s/disable_ipv6", Value: "1", Index: 7},
		stepOf(NewAddr{rtnl.Addr{Index: 7, Prefix: netip.MustParsePrefix("2001:db8::1/64"), Proto: rtnl.Protocol}}),
		{Home: 9}, {Home: 10, Value: "osl1;o=h;s=eth0"}, {Gone: 11}, {Unpin: "/run/netns/a"},
	}}
}

func namesOf(t testing.TB, r Record) []string {
	t.Helper()
	names, ok := r.Names()
	if !ok {
		t.Fatal("too long")
	}
	for _, n := range names {
		if len(n) > maxAltName || !IsRecord(n) {
			t.Fatalf("%q can be no name of a record", n)
		}
	}
	return names
}

// there is a step of the host's record that is done in a sandbox.
func there(key string, m Message) Step {
	s := stepOf(m)
	s.In = key
	return s
}

func TestRecordsComeBack(t *testing.T) {
	a, b := record(), record()
	b.Role, b.Leader, b.Parts = Redo, "/run/netns/a", nil
	b.Steps = append(b.Steps, Step{Move: &Move{Key: "/run/netns/b", Here: 7, There: 8, Back: true}}, Step{Far: 7}, there("/run/netns/b", ChangeLink{Index: 7, Kind: "vxlan"}),
		stepOf(NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "macvlan", Parent: 8}}), stepOf(NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "vxlan"}}))
	for i := range 40 {
		b.Steps = append(b.Steps, Step{Path: fmt.Sprintf("ipv4/%x/%d", i*7919, i), Value: strings.Repeat("x", i)})
	}
	names := slices.Concat([]string{"enp3s0"}, namesOf(t, b), namesOf(t, a))
	slices.Reverse(names)
	list := ParseRecords(names)
	if len(list) != 2 {
		t.Fatalf("%d records", len(list))
	}
	for _, n := range list {
		want := map[Role]Record{Undo: a, Redo: b}[n.Role]
		if !n.Whole || !reflect.DeepEqual(n.Record, want) {
			t.Errorf("got\n%+v\nwant\n%+v", n.Record, want)
		}
	}
	// One name less, and it is not whole, but can be taken away.
	list = ParseRecords(namesOf(t, b)[1:])
	if len(list) != 1 || list[0].Whole || len(list[0].Names) != len(namesOf(t, b))-1 {
		t.Errorf("of a part: %+v", list)
	}
}

func TestRecordThatIsTooLong(t *testing.T) {
	r := Record{Role: Undo, ID: "1"}
	for i := range 40000 {
		r.Steps = append(r.Steps, Step{Path: fmt.Sprintf("%x", uint32(i)*2654435761), Value: fmt.Sprintf("%x", uint32(i)*40503*2654435761)})
	}
	if _, ok := r.Names(); ok {
		t.Error("it fits")
	}
}

// A record is carried out with more rights than it may have been written with:
// none makes anything happen outside of its namespace.
func TestRecordsStayInTheirNamespace(t *testing.T) {
	host := HostNS
	for what, s := range map[string]Step{
		"a move":               stepOf(SetLink{To: &host, Link: rtnl.LinkSet{Index: 7}}),
		"a move to a PID":      {Type: linux.RTM_NEWLINK, Data: append(make([]byte, 16), 8, 0, linux.IFLA_NET_NS_PID, 0, 1, 0, 0, 0)},
		"a new link":           stepOf(NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "bridge"}}),
		"a link on none":       stepOf(NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "macvlan"}}),
		"a link elsewhere":     stepOf(NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "macvlan", Parent: 8, NSFD: 9}}),
		"a vxlan elsewhere":    stepOf(NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "vxlan", NSFD: 9}}),
		"a new link there":     there("/run/netns/b", NewLink{Link: rtnl.LinkNew{Index: 7, Name: "x", Kind: "macvlan", Parent: 8}}),
		"a change nowhere":     there("b", ChangeLink{Index: 7, Kind: "vxlan"}),
		"lo, as the host says": {Far: 1},
		"another's link":       {Type: linux.RTM_DELLINK, Data: append(make([]byte, 16), 8, 0, 46, 0, 1, 0, 0, 0)},
		"another's address":    {Type: linux.RTM_NEWADDR, Data: append(make([]byte, 8), 8, 0, linux.IFA_TARGET_NETNSID, 0, 1, 0, 0, 0)},
		"a rule":               {Type: linux.RTM_NEWRULE, Data: make([]byte, 12)},
		"no link to delete":    {Gone: 1}, "no link to bring home": {Home: 1},
		"a path that leaves":          {Path: "ipv4/../../x", Value: "1"},
		"a key without its directory": {Unpin: "a"},
		"a move to no key":            {Move: &Move{Key: "b", Here: 7, There: 8}},
		"a move of lo":                {Move: &Move{Key: "/run/netns/b", Here: 1, There: 8}},
		"a short message":             {Type: linux.RTM_NEWLINK, Data: make([]byte, 8)},
	} {
		list := ParseRecords(namesOf(t, Record{Role: Undo, ID: "1", Steps: []Step{s}}))
		if len(list) != 1 || list[0].Whole {
			t.Errorf("%s is accepted: %+v", what, list)
		}
	}
}

func FuzzParseRecords(f *testing.F) {
	f.Add(strings.Join(namesOf(f, record()), " "))
	f.Add("osl1.u.1.0.1.AAAA osl1.r osl1.u.2.1.2.x osl1.u.2.0.3.y")
	f.Fuzz(func(t *testing.T, s string) {
		names := strings.Fields(s)
		held := 0
		for _, n := range ParseRecords(names) {
			held += len(n.Names)
			for _, s := range n.Steps {
				if s.Data != nil && !allowed(s) {
					t.Errorf("%+v is accepted", s)
				}
			}
			if again, ok := n.Record.Names(); n.Whole && ok && n.ID != "" {
				if l := ParseRecords(again); len(l) != 1 || !l[0].Whole || !reflect.DeepEqual(l[0].Record, n.Record) {
					t.Errorf("%+v comes back as %+v", n.Record, l)
				}
			}
		}
		for _, n := range names {
			if strings.HasPrefix(n, recordPrefix) {
				held--
			}
		}
		if held != 0 {
			t.Errorf("%d names too many", held)
		}
	})
}
