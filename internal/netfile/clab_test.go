//go:build unix

package netfile

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

func TestContainerlab(t *testing.T) {
	for _, lab := range labs {
		t.Run(lab.name, func(t *testing.T) {
			f, err := Parse("n.clab.yml", []byte(lab.clab))
			if err != nil {
				t.Fatal(err)
			}
			want, err := Parse("n.yaml", []byte(lab.native))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(Text(&File{Network: f.Network})), string(Text(&File{Network: want.Network})); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var commands []string
			for _, c := range f.Commands {
				text := strings.Join(c.Args, " ")
				if c.Files {
					text = "[" + text + "]"
				}
				commands = append(commands, text)
			}
			if !reflect.DeepEqual(commands, lab.commands) {
				t.Errorf("commands: %q\nwant %q", commands, lab.commands)
			}
			ok := len(f.Notes) == len(lab.notes)
			for i := range min(len(f.Notes), len(lab.notes)) {
				ok = ok && strings.HasPrefix(f.Notes[i].String(), lab.notes[i])
			}
			if !ok {
				t.Errorf("notes: %q\nwant %q", f.Notes, lab.notes)
			}
			// What is written is read as the same.
			again, err := Parse("again.yaml", Text(f))
			if err != nil {
				t.Fatalf("%v\n%s", err, Text(f))
			}
			if !reflect.DeepEqual(again.Network, f.Network) && fmt.Sprintf("%+v", again.Network) != fmt.Sprintf("%+v", f.Network) {
				t.Errorf("got  %+v\nwant %+v", again.Network, f.Network)
			}
		})
	}
}

// An error about what a topology says has the line that says it.
func TestContainerlabProblems(t *testing.T) {
	const head = "name: n\ntopology:\n  nodes:\n    a: {kind: linux}\n    b: {kind: linux}\n"
	for text, want := range map[string]string{
		"name: n\ntopology:\n  nodes:\n    r: {kind: srl}\n":                                          `n.clab.yml:4: the node "r" is of kind "srl", which is more than a network`,
		"name: n\ntopology:\n  nodes:\n    r: {image: x}\n":                                           `n.clab.yml:4: the node "r" has no kind`,
		"name: n\ntopology:\n  nodes:\n    r: {kind: linux, network-mode: container:x}\n":             "n.clab.yml:4: the node \"r\" has the network of another",
		"name: n\ntopology: {links: []}\n":                                                            "n.clab.yml:2: the topology has no nodes",
		"name: n\ntopology: 7\n":                                                                      "n.clab.yml:2: expected a topology",
		head + "  links:\n    - endpoints: [\"a:e1\", \"c:e1\"]\n":                                    `n.clab.yml:7: the topology has no node "c"`,
		head + "  links:\n    - endpoints: [\"a:e1\", \"b\"]\n":                                       "n.clab.yml:7: the value \"b\" is no end of a link",
		head + "  links:\n    - endpoints: [\"a:e1\"]\n":                                              "n.clab.yml:7: a link has two endpoints",
		head + "  links:\n    - {}\n":                                                                 "n.clab.yml:7: a link needs endpoints",
		head + "  links:\n    - endpoints: [\"host:x\", \"host:y\"]\n":                                "n.clab.yml:7: both ends are on the host",
		head + "  links:\n    - endpoints: [\"a:e\", \"b:e\"]\n    - endpoints: [\"a:e\", \"b:f\"]\n": "n.clab.yml:8: a:e is an end of another link already",
		head + "  links:\n    - {endpoints: [\"a:e\", \"b:e\"], mtu: big}\n":                          "n.clab.yml:7: expected a whole number",
	} {
		if _, err := Parse("n.clab.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
	f, err := Parse("n.clab.yml", []byte("name: n\ntopology:\n  nodes:\n    a:\n      kind: linux\n  links:\n    - {type: dummy, endpoint: {node: a, interface: d0, ipv4: 10.0.0.1/24}}\n    - {type: dummy, endpoint: {node: a, interface: d1, ipv4: 224.0.0.1/24}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := osl.Diff(t.Context(), f.Network); err == nil || !strings.HasPrefix(f.About(err).Error(), "n.clab.yml:8: ") {
		t.Errorf("got %v", f.About(err))
	}
}

// A line that osl reads, and has no sandbox for, is run; those beside it mean what they mean.
func TestContainerlabBeyond(t *testing.T) {
	const head = "name: n\ntopology:\n  links:\n    - endpoints: [\"a:eth1\", \"b:eth1\"]\n  nodes:\n    b: {kind: linux}\n    a:\n      kind: linux\n      exec:\n"
	for line, want := range map[string]struct{ runs, file, note string }{
		"ip -6 route add fd02::/64 dev eth1 scope link":                        {file: `routes: [{to: "fd02::/64", dev: eth1}]`},
		"ip -6 route add fd02::/64 dev eth1 scope global":                      {file: `routes: [{to: "fd02::/64", dev: eth1}]`},
		"ip route add 10.9.0.0/16 dev eth1 advmss 70000":                       {runs: "all"},
		"ip addr add 10.0.0.2/24 dev eth1 scope link":                          {runs: "all"},
		"ip addr add 10.4.0.1/24 dev eth1 label eth1:4":                        {file: "10.4.0.1/24", note: "the label eth1:4 of an address"},
		"ip addr add 224.0.0.1/24 dev eth1":                                    {runs: "all"},
		"ip link set eth1 group 4294967295":                                    {runs: "all"},
		"ip link set eth1 gso_max_size 999999":                                 {runs: "all"},
		"ip link set eth1 alias Zürich promisc on":                             {file: "promisc: true", note: "the alias"},
		"ip link set eth1 alias 'a;b'":                                         {note: "the alias"},
		"ip link set eth1 alias " + strings.Repeat("a", 161):                   {note: "the alias"},
		"ip link add link eth1 name m type macvlan mode other":                 {runs: "all"},
		"ip rule add ipproto hopopt table 5":                                   {runs: "all"},
		"ip rule add prohibit table 5":                                         {runs: "all"},
		"ip route add local 10.8.0.0/16 dev lo":                                {file: "routes: [{to: 10.8.0.0/16, dev: lo, type: local, table: 255}]"},
		"ip route add local 10.8.0.0/16 dev lo table main":                     {file: "routes: [{to: 10.8.0.0/16, dev: lo, type: local}]"},
		"ip link add v type vxlan id 1 ttl inherit":                            {runs: "all"},
		"ip link add v type geneve id 1 remote 10.0.0.2 ttl inherit":           {runs: "all"},
		"ip link add g type gretap remote 10.0.0.2 local 10.0.0.1 ttl inherit": {file: "type: gretap"},
		"echo 1 > /proc/sys/net/ipv4/conf/all/..":                              {runs: "all"},
	} {
		f, err := Parse("n.clab.yml", []byte(head+"        - ip addr add 10.0.0.1/24 dev eth1\n        - "+strconv.Quote(line)+"\n        - ip addr add 10.5.0.1/24 dev eth1\n"))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		for i := range f.Sandboxes {
			if err := (osl.Network{Sandboxes: f.Sandboxes[i : i+1]}).Validate(); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		text := string(Text(&File{Network: f.Network}))
		if (len(f.Commands) > 0) != (want.runs != "") || !strings.Contains(text, "10.0.0.1/24") || !strings.Contains(text, "10.5.0.1/24") {
			t.Errorf("%s: runs %v\n%s", line, f.Commands, text)
		}
		if !strings.Contains(strings.NewReplacer("\"", "", " ", "").Replace(text), strings.NewReplacer("routes: [", "", "\"", "", " ", "", "]", "").Replace(want.file)) {
			t.Errorf("%s: got\n%s\nwithout %s", line, text, want.file)
		}
		if notes := fmt.Sprint(f.Notes); want.note != "" && !strings.Contains(notes, want.note) || want.note == "" && len(f.Notes) > 0 {
			t.Errorf("%s: notes %s", line, notes)
		}
	}
}

// What several lines say together is looked at when all are read: addresses of one subnet on two
// interfaces are possible where one of them is put in a VRF later.
func TestContainerlabTogether(t *testing.T) {
	f, err := Parse("n.clab.yml", []byte(`
name: n
topology:
  links: [{endpoints: ["a:eth1", "b:eth1"]}, {endpoints: ["a:eth2", "b:eth2"]}]
  nodes:
    b: {kind: linux}
    a:
      kind: linux
      exec:
        - ip addr add 10.0.0.1/24 dev eth1
        - ip addr add 10.0.0.2/24 dev eth2
        - ip link add red type vrf table 7
        - ip link set eth2 master red
`))
	if err != nil || len(f.Commands) > 0 {
		t.Errorf("%v, runs %v", err, f.Commands)
	}
}

// Nothing that a line can be makes osl lose a part of it.
func FuzzPieces(f *testing.F) {
	for _, s := range []string{"ip a a 10.0.0.1/24 dev e && true", "a || true; b", `sh -c "x 'y' $z"`, "a 2>/dev/null", `\`, "'", "a # b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, ok := pieces(text)
		if !ok {
			return
		}
		for _, p := range parts {
			if p.text == "" {
				t.Errorf("%q has an empty command", text)
			}
			words(p.text)
		}
		b := &clabBox{d: &decoder{file: &File{at: map[string]place{}}, src: &source{page: &page{}}}}
		if list, ok := words(text); ok && len(list) > 0 {
			b.line = nil
			_ = b.sysctls(list)
			_, _ = b.readRoute(list, 0)
			_ = onlyNetwork(list)
		}
	})
}
