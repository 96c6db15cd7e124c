//go:build unix

package netfile

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/seed59451c2b/osl"
)

func TestExamplesDecode(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range files {
		f, err := Read(path, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if len(f.Sandboxes) == 0 {
			t.Errorf("%s has no sandboxes", path)
		}
	}
}

// A byte order mark is passed over.
func TestByteOrderMark(t *testing.T) {
	if f, err := Parse("n.yaml", []byte("\ufeffsandboxes: [{name: a}]\n")); err != nil || len(f.Sandboxes) != 1 {
		t.Error(err)
	}
}

// Values with tabs are what they say: as the kernel prints several numbers, for one.
func TestTabs(t *testing.T) {
	const numbers = "4096\t131072\t6291456"
	for _, text := range []string{
		"sandboxes:\n  - name: a\n    sysctls:\n      ipv4.tcp_rmem: " + numbers + "\t# as it is\n    labels: {x:\ty}\n",
		"sandboxes: [{name: a, sysctls: {ipv4.tcp_rmem: " + numbers + "}, labels: {x: y}}]",
		"sandboxes: [{name: a, sysctls: {ipv4.tcp_rmem: '" + numbers + "'}, labels: {x: y}}]",
		"sandboxes: [{name: a, sysctls: {ipv4.tcp_rmem: \"4096\\t131072\\t6291456\"}, labels: {x: y}}]",
	} {
		f, err := Parse("n.yaml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := f.Sandboxes[0]; got.Sysctls["ipv4.tcp_rmem"] != numbers || got.Labels["x"] != "y" {
			t.Errorf("%q: %q, %q", text, got.Sysctls, got.Labels)
		}
	}
	for text, problem := range map[string]string{
		"sandboxes: [{name: a, interfaces: [{name: e, mtu: 1\t400}]}]":                                "n.yaml:1",
		"sandboxes:\n  - name: a\n    sysctls: {ipv4.tcp_rmem: \"4096\t131072\", ipv4.ip_forward: 1}": "n.yaml:3: a tab between double quotes",
	} {
		if _, err := Parse("n.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDecode(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
sandboxes:
  - name: 42
    labels: {tier: web, n: 1}
    sysctls:
      ipv4.ip_forward: 1
    interfaces:
      - &if
        name: eth0
        mac: 02:42:ac:11:00:02
        mtu: 9000
        txqueuelen: 0
        addresses: [10.0.0.1/24, "fd10::1/64"]
    gateway6: fe80::1%eth0
    routes: [{to: 0.0.0.0/0, dev: eth0}]
  - name: b
    interfaces:
      - <<: *if
        name: eth1
links: [[42/eth0, host/v1]]
checks:
`))
	if err != nil {
		t.Fatal(err)
	}
	zero := 0
	eth0 := osl.InterfaceSpec{
		Name: "eth0", MAC: osl.MAC{2, 0x42, 0xac, 0x11, 0, 2}, MTU: 9000, TxQueueLen: &zero,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd10::1/64")},
	}
	eth1 := eth0
	eth1.Name = "eth1"
	want := osl.Network{
		Sandboxes: []osl.Spec{{
			Name: "42", Labels: map[string]string{"tier": "web", "n": "1"},
			Sysctls:    map[string]string{"ipv4.ip_forward": "1"},
			Interfaces: []osl.InterfaceSpec{eth0},
			Gateway6:   netip.MustParseAddr("fe80::1%eth0"),
			Routes:     []osl.RouteSpec{{To: netip.MustParsePrefix("0.0.0.0/0"), Dev: "eth0"}},
		}, {
			Name: "b", Interfaces: []osl.InterfaceSpec{eth1},
		}},
		Links: []osl.Link{{{Sandbox: "42", Interface: "eth0"}, {Sandbox: "host", Interface: "v1"}}},
	}
	if !reflect.DeepEqual(f.Network, want) {
		t.Errorf("got  %+v\nwant %+v", f.Network, want)
	}
}

// Where a network is asked for, an address is that host, as ip and wg take it.
func TestHosts(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
sandboxes:
  - name: a
    interfaces:
      - {name: e, type: bridge, routes: [10.9.0.1, "fd09::1", 10.8.0.0/16]}
      - {name: w, type: wireguard, wireguard: {private_key_file: k, peers: [{interface: b/w, allowed_ips: [10.9.0.1, fd09::1]}]}}
    routes: [{to: 10.9.0.1, dev: e}, {to: fd09::1, dev: e}]
    rules: [{priority: 1, from: 10.9.0.1, to: 10.9.0.0/24}, {priority: 2, to: fd09::1}]
`))
	if err != nil {
		t.Fatal(err)
	}
	four, six := netip.MustParsePrefix("10.9.0.1/32"), netip.MustParsePrefix("fd09::1/128")
	s := f.Sandboxes[0]
	for i, got := range []netip.Prefix{s.Interfaces[0].Routes[0], s.Interfaces[1].WireGuard.Peers[0].AllowedIPs[0], s.Routes[0].To, s.Rules[0].From} {
		if got != four {
			t.Errorf("%d is %v", i, got)
		}
	}
	for i, got := range []netip.Prefix{s.Interfaces[0].Routes[1], s.Interfaces[1].WireGuard.Peers[0].AllowedIPs[1], s.Routes[1].To, s.Rules[1].To} {
		if got != six {
			t.Errorf("%d is %v", i, got)
		}
	}
	for says, problem := range map[string]string{
		"interfaces: [{name: e, aliases: [10.0.0.1]}]":             "write 10.0.0.1/24",
		"interfaces: [{name: e, subnet: fd00::}]":                  "write fd00::/64, or what it is, and /128",
		"interfaces: [{name: e, address_options: {10.0.0.1: {}}}]": "write 10.0.0.1/24",
		"masquerade: [{subnet: 10.0.0.0, uplink: e}]":              "write 10.0.0.0/24",
		"rules: [{priority: 1, from: all}]":                        "leave it out",
		"rules: [{priority: 1, from: \"fe80::1%e\"}]":              "is not an address with a prefix length",
	} {
		if _, err := Parse("n.yaml", []byte("sandboxes: [{name: a, "+says+"}]")); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// The colons of an address are none of a mapping, wherever it stands.
func TestUnquotedIPv6(t *testing.T) {
	for _, list := range []string{"[fd10::1/64]", "[ fd10::1/64 ]", "[10.0.0.1/24, fd10::1/64]", "[fd10::1/64,::1/128]", "[::1/128, 2001:db8::/32]",
		"[fe80::/10]", "[1:2:3:4:5:6:7:8/64]", "\n  [::/0]"} {
		var want []netip.Prefix
		for _, w := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune("[], \n", r) }) {
			want = append(want, netip.MustParsePrefix(w))
		}
		for _, text := range []string{"sandboxes: [{name: a, interfaces: [{name: e, addresses: %s}]}]", "sandboxes:\n- name: a\n  interfaces:\n  - {name: e, addresses: %s, mtu: 9}"} {
			f, err := Parse("n.yaml", []byte(strings.Replace(text, "%s", list, 1)))
			if err != nil {
				t.Error(err)
			} else if got := f.Sandboxes[0].Interfaces[0].Addresses; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v", list, got)
			}
		}
	}
}

func TestProblems(t *testing.T) {
	const sandbox = "sandboxes:\n  - name: web\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"misspelt field", sandbox + "    interfaces:\n      - {name: eth0, adresses: [10.0.0.1/24]}\n",
			[]string{"n.yaml:4: ", `an interface has no field "adresses"`, `did you mean "addresses"?`,
				"    4 |       - {name: eth0, adresses: [10.0.0.1/24]}\n", "      |                      ^"}},
		{"unknown field", sandbox + "    colour: red\n", []string{"n.yaml:3: ", `no field "colour"; there are: name, interfaces`}},
		{"misspelt at the top", "sandboxs: []\n", []string{"n.yaml:1: ", `"sandboxes"?`, `needs a field "sandboxes"`}},
		{"duplicate key", sandbox + "    name: db\n", []string{"n.yaml:3: ", `"name" is there twice, first in line 2`}},
		{"wrong type", sandbox + "    interfaces: 7\n", []string{"n.yaml:3: ", "expected a list", `"7"`}},
		{"names with what they name", "sandboxes: {web: {interfaces: []}}\n", []string{"n.yaml:1: ", "expected a list, found a mapping; each has its name as a field: - name: web"}},
		{"one without a dash", sandbox + "    routes: {to: default, via: 10.0.0.1}\n", []string{"n.yaml:3: ", "each begins with a dash: - to: …"}},
		{"one value without a list", sandbox + "    interfaces: [{name: e, addresses: 10.0.0.1/24}]\n", []string{"n.yaml:3: ", `"10.0.0.1/24"; one is written in brackets`}},
		{"an end for a link", "sandboxes: [{name: a}]\nlinks: [a/eth0]\n", []string{"n.yaml:2: ", `"a/eth0"; each link is a list of its own: [[web/eth0, switch/p1]]`}},
		{"text for a number", sandbox + "    interfaces: [{name: e, mtu: big}]\n", []string{"n.yaml:3: ", "whole number", "big"}},
		{"number out of range", sandbox + "    interfaces: [{name: e, mtu: 99999999999999999999}]\n", []string{"n.yaml:3: "}},
		{"text for a bool", sandbox + "    interfaces: [{name: e, down: yes}]\n", []string{"n.yaml:3: ", "true or false"}},
		{"a number of base eight", sandbox + "    interfaces: [{name: e, mtu: 01400}]\n", []string{"01400 begins with a zero, by which YAML takes it for 768: write 1400"}},
		{"a number with a zero", sandbox + "    interfaces: [{name: e, mtu: -01800}]\n", []string{"-01800 begins with a zero: write -1800"}},
		{"a number of base sixteen", sandbox + "    interfaces: [{name: e, mtu: 0x10}]\n", []string{"0x10 is no decimal number: write 16"}},
		{"a number too large for YAML", sandbox + "    interfaces: [{name: e, mtu: 99999999999999999999}]\n", []string{"n.yaml:3: 99999999999999999999 is out of range"}},
		{"a number too large for the kernel", sandbox + "    interfaces: [{name: e, mtu: 4294967296}]\n", []string{"n.yaml:3: 4294967296 is out of range"}},
		{"all as an address", sandbox + "    routes: [{to: 0.0.0.0, via: 10.0.0.1}]\n", []string{"n.yaml:3: 0.0.0.0 without a length is that address alone: write 0.0.0.0/0 for all, or 0.0.0.0/32"}},
		{"all of an interface", sandbox + "    interfaces: [{name: e, routes: [\"::\"]}]\n", []string{"n.yaml:3: :: without a length is that address alone: write ::/0"}},
		{"two signs", sandbox + "    interfaces: [{name: e, mtu: --5}]\n", []string{`expected a whole number, found the value "--5"`}},
		{"a number in quotes", sandbox + "    interfaces: [{name: e, mtu: \"1400\"}]\n", []string{"found text: write 1400, without quotes"}},
		{"a bool in quotes", sandbox + "    interfaces: [{name: e, down: 'true'}]\n", []string{"found text: write true, without quotes"}},
		{"mapping for text", "sandboxes:\n  - name: {a: b}\n", []string{"n.yaml:2: ", "expected text, found a mapping"}},
		{"a field of the sandbox at an interface", sandbox + "    interfaces: [{name: b, type: bridge, gateway: 10.0.0.1}]\n", []string{`no field "gateway"; a sandbox has it`}},
		{"a field of an interface at the sandbox", sandbox + "    mtu: 1400\n", []string{`no field "mtu"; an interface has it`}},
		{"a field of a mapping", sandbox + "    interfaces: [{name: b, type: bridge, vlan_filtering: true}]\n",
			[]string{"n.yaml:3: ", `no field "vlan_filtering"; it is one of bridge: write bridge: {vlan_filtering: …}`}},
		{"what the type's own error says in full", sandbox + "    interfaces: [{name: b, type: bridge, bridge: {forward_delay: 2x}}]\n",
			[]string{`n.yaml:3: "2x" is no duration: write`}},
		{"bad address", sandbox + "    gateway: 10.0.0\n", []string{"n.yaml:3: ", `"10.0.0" is not an address such as`, "too short"}},
		{"empty address", sandbox + "    gateway: \"\"\n", []string{"n.yaml:3: ", "it is empty"}},
		{"no prefix length", sandbox + "    interfaces:\n      - name: e\n        addresses:\n          - 10.0.0.1\n", []string{"n.yaml:6: ", "10.0.0.1 lacks the length of its subnet: write 10.0.0.1/24, or what it is, and /32 for none"}},
		{"bad mac", sandbox + "    interfaces: [{name: e, mac: 02:00}]\n", []string{"n.yaml:3: ", "hardware address"}},
		{"link of one end", sandbox + "links:\n  - [web/eth0]\n", []string{"n.yaml:4: ", "a list of 2, found 1"}},
		{"end without a slash", sandbox + "links:\n  - [web, db/eth0]\n", []string{"n.yaml:4: ", "end of a link"}},
		{"name missing", "sandboxes:\n  - gateway: 10.0.0.1\n", []string{"n.yaml:2: ", `a sandbox needs a field "name"`}},
		{"two documents", "---\n" + sandbox + "---\n" + sandbox, []string{"n.yaml:4: ", "second document"}},
		{"empty", "", []string{"n.yaml is empty"}},
		{"comments only", "# nothing\n---\n", []string{"n.yaml is empty"}},
		{"a list", "- a\n- b\n", []string{"n.yaml:1: ", `expected a network with fields such as "sandboxes"`}},
		{"a name of a network", sandbox + "name: a/b\n", []string{"n.yaml:3: ", `the network name "a/b" has a slash`}},
		{"an empty entry", sandbox + "    interfaces:\n      - name: e\n        addresses: [10.0.0.1/8, ~]\n", []string{"n.yaml:5: ", "nothing in this place"}},
		{"tabs", "sandboxes:\n\t- name: web\n", []string{"n.yaml:2: a tab, where YAML has blanks"}},
		{"a field that is indented otherwise", sandbox + "    interfaces:\n    - name: e\n     mtu: 1400\n", []string{"n.yaml:5: this does not belong here"}},
		{"a colon without a blank", "sandboxes:\n- name:web\n", []string{`found the value "name:web"; a field ends with a colon and a blank: name: web`}},
		{"a list of settings", sandbox + "    sysctls: [net.ipv4.ip_forward=1]\n", []string{"expected names with values, found a list; write one to a line without a dash"}},
		{"a variable without quotes", sandbox + "    interfaces: [{name: e, mtu: ${M}}]\n", []string{"n.yaml:3: ", "a variable within braces needs quotes"}},
		{"a name alone", "sandboxes:\n- web\n", []string{`found the value "web"; write name: web`}},
		{"a switch", sandbox + "    interfaces: [{name: e, down: on}]\n", []string{`found the value "on"; write true`}},
		{"a group by its name", sandbox + "    interfaces: [{name: e, type: dummy, group: default}]\n", []string{"0 as a group"}},
		{"a table by its name", sandbox + "    rules: [{priority: 1, table: main}]\n", []string{"the number of that table is 254"}},
		{"an address with a length", sandbox + "    gateway: 10.0.0.1/24\n", []string{`"10.0.0.1/24" is not an address alone: write 10.0.0.1, without the length`}},
		{"a part without its sign", sandbox + "    interfaces: [{name: e, impair: {loss: 1}}]\n", []string{`"1" is no part of a hundred: write 1%`}},
		{"a duration without a unit", sandbox + "    interfaces: [{name: e, impair: {delay: 100}}]\n", []string{`"100" is no duration: it lacks a unit, as in 100ms`}},
		{"settings below each other", sandbox + "    sysctls: {ipv4: {ip_forward: 1}}\n", []string{"a setting has its whole name: ipv4.NAME: …"}},
		{"a default of nothing", sandbox + "defaults: {mtu: 1400}\n", []string{`defaults has no field "mtu"; write interface: {mtu: …}`}},
		{"a default of a sandbox", sandbox + "defaults: {gateway: 10.0.0.1}\n", []string{"write sandbox: {gateway: …}"}},
		{"a route as ip writes it", sandbox + "    routes: [10.0.0.0/8 via 10.1.1.1 dev e]\n", []string{"; write {to: 10.0.0.0/8, via: 10.1.1.1, dev: e}"}},
		{"a route of what is none", sandbox + "    routes: [10.0.0.0/8 through 10.1.1.1]\n", []string{`found the value "10.0.0.0/8 through 10.1.1.1"` + "\n"}},
		{"an empty text for a route", sandbox + "    routes: ['', ' ']\n", []string{`found the value ""`}},
		{"members by their numbers", sandbox + "    nexthops: [{id: 3, group: [1]}]\n", []string{"; write id: 1"}},
		{"an interface in the place of a list", sandbox + "    interfaces: eth0\n", []string{"; write - name: eth0"}},
		{"a route of an interface with more", sandbox + "    interfaces: [{name: e, routes: [{to: 10.0.0.0/8, via: 10.1.1.1}]}]\n", []string{"is one of the sandbox"}},
		{"no colon within braces", "sandboxes: [{name web}]\n", []string{`a sandbox has no field "name web"; a field ends with a colon and a blank: name: web`}},
		{"no colon after a list's name", "sandboxes:\n- name: web\nlinks\n- [web/a, web/b]\n", []string{"n.yaml:3: ", "a name without its colon"}},
		{"a second colon", "sandboxes:\n- name: web: x\n", []string{"n.yaml:2: a second colon in one line"}},
		{"a colon too few within braces", sandbox + "    interfaces:\n    - {name: e, addresses [10.0.0.1/24]}\n", []string{"n.yaml:4: something is missing between these braces"}},
		{"default, misspelt", sandbox + "    routes: [{to: defult, via: 10.0.0.1}]\n", []string{`did you mean "default"?`}},
		{"a part of a hundred", sandbox + "    interfaces: [{name: e, impair: {loss: 200%}}]\n", []string{"it is from 0% to 100%"}},
		{"no colon", "sandboxes:\n- name web\n", []string{`found the value "name web"; a field ends with a colon and a blank: name: web`}},
		{"unclosed", "sandboxes: [{name: web\n", []string{"n.yaml:1: "}},
		{"binary", "\x7fELF\x00\x01", []string{"no text in UTF-8"}},
		{"latin-1", "sandboxes: [{name: \xe9}]", []string{"no text in UTF-8"}},
		{"unknown alias", "sandboxes: *x\n", []string{"n.yaml:1: ", "anchor"}},
		{"self-reference", "sandboxes: &x [*x]\n", []string{"n.yaml:1: "}},
		{"deep flow", "a: " + strings.Repeat("[", 100_000), []string{"n.yaml:1: ", "nested too deeply"}},
		{"deep blocks", strings.Repeat("- ", 100_000), []string{"n.yaml:1: ", "nested too deeply"}},
		{"deep keys", strings.Repeat("? ", 100_000), []string{"n.yaml:1: ", "nested too deeply"}},
		{"merge of a scalar", "sandboxes:\n  - <<: 7\n    name: a\n", []string{"n.yaml:2: ", "<<"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("n.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %q in:\n%v", w, err)
				}
			}
			if strings.Contains(err.Error(), "gave up") {
				t.Errorf("the parser panicked: %v", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("n.yaml", []byte("sandboxes:\n  - {nam: a}\n  - {name: b, gateway: x}\n"))
	if err == nil || !strings.Contains(err.Error(), "n.yaml:2:") || !strings.Contains(err.Error(), "n.yaml:3:") {
		t.Errorf("got: %v", err)
	}
}

// A file of 26 kB that means four million interfaces must neither hang nor fill
// the memory.
func TestAliasBomb(t *testing.T) {
	text := "sandboxes:\n  - name: a\n    interfaces: [&i {name: e}]\n" +
		"  - &s {name: x, interfaces: [" + strings.Repeat("*i, ", 2000) + "]}\n" + strings.Repeat("  - *s\n", 2000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse("n.yaml", []byte(text))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "stand for too much") {
		t.Errorf("got: %.300v", err)
	}
	// What takes long takes memory for it: a machine's speed says nothing. Without
	// the limit it is sixteen times of what it is with it.
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 2000 {
		t.Errorf("it took %d MiB", n)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling.yaml")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dangling:                     "is a symbolic link to nowhere, which is not there",
		fifo:                         "no regular file",
		dir:                          "is a directory",
		"/dev/zero":                  "no regular file",
		huge:                         "larger than 4 MiB",
		filepath.Join(dir, "absent"): "there is no file",
	} {
		if _, err := Read(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if f, err := Read("-", strings.NewReader("sandboxes: [{name: a}]")); err != nil || f.Sandboxes[0].Name != "a" {
		t.Errorf("standard input: %v", err)
	}
}

func TestProblemAtPath(t *testing.T) {
	f, err := Parse("n.yaml", []byte("sandboxes: []\nchecks:\n  - from: host\n    expect: luck\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"checks[0].expect":  "n.yaml:4: ",
		"checks[0].timeout": "n.yaml:3: ",
		"elsewhere":         "n.yaml: ",
	} {
		if err := f.Problem(path, "x"); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile("../../examples/quickstart.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("sandboxes: &a [{name: !!str x, <<: *a}]\n"))
	for _, lab := range labs {
		f.Add([]byte(lab.clab))
	}
	f.Add([]byte("? a\n: - b\n  - |\n   c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Parse("n.yaml", text); err != nil && strings.Contains(err.Error(), "gave up") {
			t.Error(err)
		}
	})
}

// What is no network at all is said once.
func TestNoNetwork(t *testing.T) {
	for _, text := range []string{"[]", "5", "~", "&a []", "*a", "- a"} {
		_, err := Parse("n.yaml", []byte(text))
		if err == nil || strings.Count(err.Error(), "n.yaml:1: ") != 1 {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is empty is left out of maps and lists, too.
func TestEmptyWithin(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
sandboxes:
  - name: web
    sysctls: {ipv4.ip_forward: , ipv4.ip_default_ttl: "${NONE_OF_THESE:-}"}
    interfaces:
      - {name: e, type: bridge, addresses: ["${NONE_OF_THESE:-}", 10.0.0.1/8], offloads: {tso: , gso: "${NONE_OF_THESE:-}"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Sandboxes[0]
	if e := s.Interfaces[0]; len(s.Sysctls) > 0 || len(e.Offloads) > 0 || len(e.Addresses) != 1 {
		t.Errorf("sysctls %v, offloads %v, addresses %v", s.Sysctls, e.Offloads, e.Addresses)
	}
}

// A link that says something of both ends lists its end on the host by that; an MTU both have
// without.
func TestLinkListsItsEndOnTheHost(t *testing.T) {
	for says, wants := range map[string]int{"": 1, ", mtu: 1400": 1, ", txqueuelen: 77": 2, ", mtu: 1400, impair: {loss: 1%}": 2} {
		f, err := Parse("n.yaml", []byte("defaults: {interface: {group: 7}}\nsandboxes: [{name: a}]\nlinks: [{ends: [a/e0, host/h0]"+says+"}, [a/e1, host/h1]]\n"))
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Sandboxes) != wants {
			t.Errorf("with %q it has the sandboxes %+v", says, f.Sandboxes)
		}
		if wants == 2 {
			if host := f.Sandboxes[1]; host.Name != osl.HostName || host.Interfaces[0].Name != "h0" || *host.Interfaces[0].Group != 7 ||
				!strings.Contains(f.Problem("sandboxes[1].interfaces[0]", "x").Error(), "n.yaml:3:") {
				t.Errorf("with %q the host has %+v", says, host)
			}
		}
	}
	for _, host := range []string{"", ", {name: host}"} {
		for says, word := range map[string]string{"routes: [default]": "routes", "txqueuelen: 7, master: br0": "master", "ipv6: auto": "ipv6", "sysctls: {ipv6.accept_ra: 2}": "sysctls"} {
			_, err := Parse("n.yaml", []byte("sandboxes: [{name: a}"+host+"]\nlinks:\n  - {ends: [a/e0, host/h0], "+says+"}\n"))
			if err == nil || !strings.HasPrefix(err.Error(), "n.yaml:3: of an end on the host no link says "+word) {
				t.Errorf("%s: %v", says, err)
			}
		}
	}
	for _, host := range []string{"", ", {name: host}"} {
		_, err := Parse("n.yaml", []byte("sandboxes: [{name: a}"+host+"]\nlinks: [{ends: [a/e0, host/h0], group: 7}]\ndefaults:\n  interface:\n    ipv6: auto\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "n.yaml:5: an end on the host that is not listed has no ipv6 by defaults") {
			t.Errorf("defaults: %v", err)
		}
	}
	listed := "sandboxes: [{name: a}, {name: host, interfaces: [{name: h0, routes: []}]}]\nlinks:\n  - {ends: [a/e0, host/h0], routes: [default]}\n"
	if f, err := Parse("n.yaml", []byte(listed)); err != nil || len(f.Sandboxes[1].Interfaces[0].Routes) > 0 {
		t.Errorf("listed: %v", err)
	}
}
