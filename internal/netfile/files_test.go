//go:build unix

package netfile

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/where"
)

// write makes files, and goes where they are.
func write(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "1", "EMPTY": "", "TRICK": "${A}", "B_2": "two"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for text, want := range map[string]string{
		"": "", "a": "a", "${A}": "1", "x${A}y${B_2}z": "x1ytwoz", "${A:-9}": "1", "${NO:-9}": "9", "${EMPTY:-9}": "9", "${EMPTY}": "", "${NO:-}": "",
		"$${A}": "${A}", "$A": "$A", "$$A": "$$A", "$$${A}": "$${A}", "${TRICK}": "${A}", "${NO:-a:-b}": "a:-b", "100$": "100$",
	} {
		if got, err := expand(text, lookup); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	if got, err := expand("${NO:=9}${A:=9}${NO:-8}", lookup, ":="); err != nil || got != "918" {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{
		"${NO}": "no variable NO", "${NO:=9}": "is no variable", "${A": "no closing brace", "${}": "is no variable", "${1}": "is no variable", "${A-b}": "is no variable", "${NO:-${A}}": "is no variable", "${A B}": "is no variable",
	} {
		if got, err := expand(text, lookup); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", text, got, err, want)
		}
	}
}

// Variables stand for values of each type, and never for structure.
func TestVariables(t *testing.T) {
	for name, value := range map[string]string{"T_NAME": "web", "T_MTU": "1400", "T_DOWN": "true", "T_ADDR": "10.0.0.2", "T_TRICK": "a}, {name: b", "T_NONE": "", "T_QUEUE": "0"} {
		t.Setenv(name, value)
	}
	f, err := Parse("n.yaml", []byte(`
sandboxes:
  - name: ${T_NAME}
    interfaces:
      - {name: "eth${T_UNSET:-0}", mtu: "${T_MTU}", down: "${T_DOWN}", addresses: ["${T_ADDR}/24"], txqueuelen: "${T_QUEUE}"}
      - name: e1
        mtu: ${T_MTU}
        mac: ${T_NONE}
    gateway: ${T_NONE}
    labels: {a: "${T_TRICK}", b: "$${T_NAME}", "c": "${T_NAME}-${T_MTU}"}
  - name: |-
      ${T_NAME}2
`))
	if err != nil {
		t.Fatal(err)
	}
	zero := 0
	want := []osl.Spec{{
		Name: "web", Labels: map[string]string{"a": "a}, {name: b", "b": "${T_NAME}", "c": "web-1400"},
		Interfaces: []osl.InterfaceSpec{
			{Name: "eth0", MTU: 1400, Down: true, TxQueueLen: &zero, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}},
			{Name: "e1", MTU: 1400},
		},
	}, {Name: "web2"}}
	if !reflect.DeepEqual(f.Sandboxes, want) {
		t.Errorf("got  %+v\nwant %+v", f.Sandboxes, want)
	}
	for text, want := range map[string]string{
		"sandboxes:\n  - name: ${T_UNSET}\n":                                     "n.yaml:2: the environment has no variable T_UNSET",
		"sandboxes:\n  - name: a\n    interfaces: [{name: e, mtu: '${T_NAME}'}]": `n.yaml:3: expected a whole number, found the value "web"`,
		"sandboxes:\n  - name: a\n    interfaces: '${T_TRICK}'":                  "n.yaml:3: expected a list",
		"sandboxes:\n  - name: a\n    labels: {'${T_NAME}': 1}":                  "n.yaml:3: a variable stands for a value",
		"sandboxes:\n  - ${T_NAME}: a\n":                                         `n.yaml:2: a sandbox has no field "${T_NAME}"`,
		"sandboxes:\n  - name: a\n    gateway: ${T_NAME}":                        `n.yaml:3: "web" is not an address`,
	} {
		if _, err := Parse("n.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
}

// What has a name that begins with x- is the author's, and can hold anchors.
func TestOwnKeys(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
x-port: &port {mtu: 1400, x-note: [any, {thing: "${no"}]}
x-list: &list [10.0.0.2/24]
sandboxes:
  - name: a
    x-owner: me
    interfaces:
      - {<<: *port, name: e0, addresses: *list}
    labels: {x-kept: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	i := f.Sandboxes[0].Interfaces[0]
	if i.MTU != 1400 || len(i.Addresses) != 1 || f.Sandboxes[0].Labels["x-kept"] != "1" {
		t.Errorf("got %+v", f.Sandboxes[0])
	}
	// An alias means the anchor that stands before it.
	f, err = Parse("n.yaml", []byte("sandboxes:\n  - {name: &n a}\n  - {labels: {a: *n}, name: &n b}\n  - {name: c, labels: {a: *n}}\n"))
	if err != nil || f.Sandboxes[1].Labels["a"] != "a" || f.Sandboxes[2].Labels["a"] != "b" {
		t.Errorf("got %+v, %v", f, err)
	}
}

// Defaults hold for each that does not say its own: lists and values are replaced,
// mappings are merged, an empty value is that of a file without defaults.
func TestDefaults(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
defaults:
  sandbox:
    sysctls: {ipv4.ip_forward: 1, ipv4.ip_default_ttl: 32}
    labels: {tier: lab}
  interface:
    mtu: 9000
    routes: [10.9.0.0/16]
sandboxes:
  - name: a
    sysctls: {ipv4.ip_default_ttl: 64}
    interfaces:
      - {name: lo}
      - {name: e0}
      - {name: e1, mtu: 1400, routes: [10.8.0.0/16]}
      - {name: e2, mtu: , peer: b/p0}
  - name: b
    labels:
links:
  - [a/e0, b/e0]
  - {ends: [a/e1, b/e1], mtu: 1300, txqueuelen: 7}
`))
	if err != nil {
		t.Fatal(err)
	}
	p := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	seven := 7
	want := []osl.Spec{{
		Name: "a", Sysctls: map[string]string{"ipv4.ip_forward": "1", "ipv4.ip_default_ttl": "64"}, Labels: map[string]string{"tier": "lab"},
		Interfaces: []osl.InterfaceSpec{
			{Name: "lo"}, {Name: "e0", MTU: 9000, Routes: p("10.9.0.0/16")}, {Name: "e1", MTU: 1400, TxQueueLen: &seven, Routes: p("10.8.0.0/16")},
			{Name: "e2", Routes: p("10.9.0.0/16"), Peer: osl.Endpoint{Sandbox: "b", Interface: "p0"}},
		},
	}, {
		Name: "b", Sysctls: map[string]string{"ipv4.ip_forward": "1", "ipv4.ip_default_ttl": "32"},
		Interfaces: []osl.InterfaceSpec{
			{Name: "e0", MTU: 9000, Routes: p("10.9.0.0/16")}, {Name: "e1", MTU: 1300, TxQueueLen: &seven, Routes: p("10.9.0.0/16")}, {Name: "p0", MTU: 9000, Routes: p("10.9.0.0/16")},
		},
	}}
	if !reflect.DeepEqual(f.Sandboxes, want) {
		t.Errorf("got  %+v\nwant %+v", f.Sandboxes, want)
	}
	for text, want := range map[string]string{
		"defaults: {interface: {name: e}}\nsandboxes: []":                                            "n.yaml:1: name is what each has of its own",
		"defaults: {sandbox: {name: e}}\nsandboxes: []":                                              "n.yaml:1: name is what each has of its own",
		"defaults: {links: {}}\nsandboxes: []":                                                       `n.yaml:1: defaults has no field "links"`,
		"defaults: 7\nsandboxes: []":                                                                 "n.yaml:1: expected defaults",
		"defaults:\n  interface: {mtuu: 1}\nsandboxes: []":                                           `n.yaml:2: an interface has no field "mtuu"; did you mean "mtu"?`,
		"defaults:\n  interface: {mtu: x}\nsandboxes: []":                                            "n.yaml:2: expected a whole number",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n - {ends: [a/e, b/e], mtuu: 1}":                  `n.yaml:3: an interface has no field "mtuu"`,
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n - {ends: [a/e, b/e], addresses: [10.0.0.1/24]}": "n.yaml:3: addresses is what each has of its own",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n - {ends: [a/e, b/e], parent: x}":                "n.yaml:3: parent is what each has of its own",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n - {mtu: 1}":                                     `n.yaml:3: a link needs a field "ends"`,
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n - {ends: [a/e], mtu: 1}":                        "n.yaml:3: a link is a list of 2",
	} {
		if _, err := Parse("n.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "n.yaml:") != 1 {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
}

// An error about a segment, or its sandbox, has a line that says that there is one.
func TestAboutSegments(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`name: n
segments:
  - {name: blue, subnet: 10.0.0.0/30}
  - {name: green, subnet: 10.0.0.1/24}
sandboxes:
  - name: a
    interfaces:
      - name: e0
        segment: blue
  - {name: b, interfaces: [{name: e0, segment: blue}]}
  - name: c
    interfaces:
      - name: e0
        segment: blue
  - name: d
    interfaces:
      - name: e0
        segment: bleu
`))
	if err != nil {
		t.Fatal(err)
	}
	diff := func() string { _, err := osl.Diff(t.Context(), f.Network); return f.About(err).Error() }
	if text := diff(); !strings.HasPrefix(text, "n.yaml:4: 10.0.0.1/24 is an address: its subnet is 10.0.0.0/24") {
		t.Error(text)
	}
	f.Segments = f.Segments[:1]
	if text := diff(); !strings.HasPrefix(text, `n.yaml:13: sandbox "c", interface "e0": the subnet 10.0.0.0/30 has no address left`) {
		t.Error(text)
	}
	f.Segments[0].Subnet = nil
	if text := diff(); !strings.HasPrefix(text, `n.yaml:18: sandbox "d", interface "e0": the network lists segments, and "bleu" is none of them; did you mean "blue"?`) {
		t.Error(text)
	}
	err = f.About(&osl.Error{Op: "apply", Key: keyOf(t, "n.segments"), Err: errors.New("no")})
	if !strings.HasPrefix(err.Error(), `n.yaml:9: sandbox "n.segments": no`) {
		t.Error(err)
	}
}

// Several files, with those that they include, are one network, and each error says
// the file.
func TestSeveralFiles(t *testing.T) {
	write(t, map[string]string{
		"main.yaml":      "include: [sites/a.yaml, sites/b.yaml]\nlinks:\n  - {ends: [a/e0, b/e0], mtu: 1400}\nchecks:\n  - {from: a, ping: 10.0.0.2}\n",
		"sites/a.yaml":   "name: alone\ninclude: ../common.yaml\ndefaults: {interface: {txqueuelen: 5}}\nsandboxes:\n  - name: a\n    interfaces:\n      - name: e0\n        addresses:\n          - 10.0.0.1/24\n",
		"sites/b.yaml":   "include: ../common.yaml\nsandboxes:\n  - {name: b}\nchecks:\n  - {from: b, ping: 10.0.0.1}\n",
		"common.yaml":    "sandboxes: [{name: common}]\n",
		"more.yaml":      "sandboxes: [{name: c}]\nlinks: [[c/e0, a/e1]]\n",
		"named.yaml":     "name: x\nsandboxes: [{name: d}]\n",
		"other.yaml":     "sandboxes: []\nname: y\n",
		"again.yaml":     "sandboxes:\n  - name: d\n  - name: a\n",
		"cycle.yaml":     "sandboxes: []\ninclude:\n  - cycle2.yaml\n",
		"cycle2.yaml":    "include: ./sub/../cycle.yaml\n",
		"sub/x":          "",
		"itself.yaml":    "include: itself.yaml\n",
		"lacks.yaml":     "sandboxes: []\ninclude:\n  - none.yaml\n",
		"bad.yaml":       "include: bad2.yaml\n",
		"bad2.yaml":      "sandboxes:\n  - {name: z, mtu: 1}\n",
		"onlylinks.yaml": "links: []\n",
		"list.yaml":      "[a]\n",
		"number.yaml":    "include: {a: b}\nsandboxes: []\n",
	})
	f, err := ReadAll(nil, "main.yaml", "more.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range f.Sandboxes {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "common a b c" || f.Name != "main+more" || len(f.Links) != 2 || len(f.Checks) != 2 || f.Checks[0].From != "b" {
		t.Errorf("%s, %q, %v, %v", got, f.Name, f.Links, f.Checks)
	}
	five := 5
	if got, want := f.Sandboxes[1].Interfaces, []osl.InterfaceSpec{{Name: "e0", MTU: 1400, TxQueueLen: &five, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := f.Sandboxes[2].Interfaces, []osl.InterfaceSpec{{Name: "e0", MTU: 1400}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	about := func(dev, field, entry string) string {
		return f.About(&osl.Error{Op: "apply", Key: keyOf(t, "a"), Interface: dev, Err: where.In(field, entry, errors.New("no"))}).Error()
	}
	for text, want := range map[string]string{
		about("e0", "addresses", "10.0.0.1/24"): "sites/a.yaml:9: ", about("e0", "txqueuelen", ""): "sites/a.yaml:3: ", about("e0", "mtu", ""): "main.yaml:3: ", about("e1", "", ""): "more.yaml:2: ",
	} {
		if !strings.HasPrefix(text, want) {
			t.Errorf("%s, want %s", text, want)
		}
	}
	for names, want := range map[string]string{"more.yaml main.yaml": "main+more", "main.yaml": "main", "named.yaml main.yaml": "x", "sites/a.yaml": "alone", "main.yaml sites/a.yaml": "alone", "main.yaml common.yaml": "common+main"} {
		if f, err := ReadAll(nil, strings.Fields(names)...); err != nil || f.Name != want {
			t.Errorf("%s: %v, %v", names, f, err)
		}
	}
	for names, want := range map[string]string{
		"named.yaml other.yaml": `other.yaml:2: the network is called "x" in named.yaml:1`,
		"main.yaml again.yaml":  `again.yaml:3: the sandbox "a" is there twice; first in sites/a.yaml:5`,
		"main.yaml main.yaml":   "main.yaml is given twice",
		"main.yaml ./main.yaml": "main.yaml is given twice",
		"cycle.yaml":            "cycle2.yaml:1: cycle.yaml includes itself: cycle.yaml includes cycle2.yaml includes cycle.yaml",
		"itself.yaml":           "itself.yaml:1: itself.yaml includes itself",
		"lacks.yaml":            "lacks.yaml:3: include: there is no file \"none.yaml\"; did you mean \"more.yaml\"?",
		"bad.yaml":              `bad2.yaml:2: a sandbox has no field "mtu"`,
		"onlylinks.yaml":        `onlylinks.yaml:1: a network needs a field "sandboxes"`,
		"list.yaml":             `list.yaml:1: expected a network with fields such as "sandboxes"`,
		"number.yaml":           "number.yaml:1: expected the path of a file, found a mapping",
		"main.yaml none.yaml":   "there is no file \"none.yaml\"",
		"named.yaml again.yaml": `again.yaml:2: the sandbox "d" is there twice; first in named.yaml:2`,
	} {
		f, err := ReadAll(nil, strings.Fields(names)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v\nwant %s", names, f, err, want)
		}
	}
	if _, err := Parse("n.yaml", []byte("include: main.yaml\n")); err == nil || !strings.Contains(err.Error(), "n.yaml:1: include needs a network that is read from a file") {
		t.Errorf("a text includes a file: %v", err)
	}
	if f, err := Read("-", strings.NewReader("include: main.yaml\n")); err != nil || len(f.Sandboxes) != 3 {
		t.Errorf("standard input: %v, %v", f, err)
	}
}

// keyOf is where the sandbox of a name is, for whoever runs the test.
func keyOf(t *testing.T, name string) string {
	t.Helper()
	key, err := osl.KeyPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
