package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// story is what a script saw: what it looked at, and the lines that were there.
type story struct {
	what  []string
	lines map[string][]string
}

// note writes down what was seen.
func (s *story) note(what, text string) {
	if s.lines == nil {
		s.lines = map[string][]string{}
	}
	if _, ok := s.lines[what]; !ok {
		s.what = append(s.what, what)
	}
	s.lines[what] = append(s.lines[what], strings.Split(strings.TrimSpace(text), "\n")...)
}

// names are those that are drawn by lot; an address of a link too, where docker does not
// make it from the IP address.
var names = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`\bveth[0-9a-f]{7}\b`), "vethX"},
	{regexp.MustCompile(`\bveth\d+\b`), "vethN"}, // in the sandbox of an overlay, numbered as ethN
	{regexp.MustCompile(`\bbr-[0-9a-f]{12}\b`), "br-X"},
	{regexp.MustCompile(`\bdm-[0-9a-f]{12}\b`), "dm-X"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`\bfe80::[0-9a-f:]+(/64)?\b`), "fe80::X"},
	{regexp.MustCompile(`\bff02::1:ff[0-9a-f:]+\b`), "ff02::1:ffX"},
	{regexp.MustCompile(`\b172\.18\.0\.[23]\b`), "172.18.0.X"}, // on swarm's bridge, in the order in which they come
	{regexp.MustCompile(`\b02:42:ac:12:00:0[23]\b`), "02:42:ac:12:00:X"},
	{regexp.MustCompile(`(--to-destination 127\.0\.0\.11:|--sport )\d+`), "${1}PORT"},
}

func sameNames(text string) string {
	for _, n := range names {
		text = n.re.ReplaceAllString(text, n.by)
	}
	return text
}

// fields are what is not compared of what ip tells: numbers of links and namespaces,
// ports, times, what is still to be found out, and what is made of addresses that are
// drawn by lot.
var fields = []string{"ifindex", "link_index", "link_netnsid", "no", "id", "designated_port", "tentative", "valid_life_time", "preferred_life_time",
	"gc_timer", "hello_timer", "hold_timer", "tcn_timer", "topology_change_timer", "forward_delay_timer", "root_id", "bridge_id"}

// objects turns what ip -json says into a line for each object, sorted.
func (v *version) objects(t *testing.T, text string) string {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var lines []string
	for _, o := range list {
		v.drop(o)
		if len(o) > 0 {
			b, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, sameNames(string(b)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// drop takes away what is not compared.
func (v *version) drop(o map[string]any) {
	for _, f := range fields {
		delete(o, f)
	}
	link, _ := o["ifname"].(string)
	if drawn[v.name].MatchString(link) {
		delete(o, "address")
	}
	if link == "br0" { // the one in an overlay's sandbox: docker's says 0, which means nothing there
		delete(o, "txqlen")
	}
	if dev, _ := o["dev"].(string); bridge.MatchString(link) || bridge.MatchString(dev) {
		delete(o, "flags")
		delete(o, "operstate")
	}
	untag(o)
	if list, ok := o["addr_info"].([]any); ok {
		slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(local(a), local(b)) })
		for _, a := range list {
			if strings.HasPrefix(local(a), linkLocal) {
				delete(a.(map[string]any), "scope") // it is global with docker's package, and link with osl
			}
		}
	}
	for _, x := range o {
		switch x := x.(type) {
		case map[string]any:
			v.drop(x)
		case []any:
			for _, y := range x {
				if m, ok := y.(map[string]any); ok {
					v.drop(m)
				}
			}
		}
	}
}

// linkLocal is how a link-local address of IPv4 begins.
const linkLocal = "169.254."

func local(addr any) string { m, _ := addr.(map[string]any); return fmt.Sprint(m["local"]) }

var (
	// drawn are the links whose addresses are drawn by lot. v23 makes those in containers
	// of the IP address.
	drawn = map[string]*regexp.Regexp{"v2": regexp.MustCompile(`^(eth|lan|veth|br|docker|vxlan)`), "v23": regexp.MustCompile(`^(veth|br|docker|vxlan)`)}
	// bridge is one that the kernel tells some time after its last port that it has no
	// carrier.
	bridge = regexp.MustCompile(`^(br-|docker)`)
)

// untag takes away that by which osl knows again what is its own: the alias and further
// names of a link, and a protocol, in the place of the one that routes and addresses of
// docker have.
func untag(o map[string]any) {
	if alias, ok := o["ifalias"].(string); ok && strings.HasPrefix(alias, "osl") {
		delete(o, "ifalias")
	}
	if list, ok := o["altnames"].([]any); ok {
		list = slices.DeleteFunc(list, func(x any) bool { return strings.HasPrefix(fmt.Sprint(x), "osl") })
		if o["altnames"] = list; len(list) == 0 {
			delete(o, "altnames")
		}
	}
	if o["protocol"] != "111" {
		return
	}
	if o["protocol"] = "boot"; o["lladdr"] != nil { // a neighbor of docker's has none
		delete(o, "protocol")
	}
}

// settings has a setting of the network on each line.
const settings = `cd /proc/sys/net && grep -rs --exclude=stable_secret --exclude=flush '' ipv4 ipv6 | grep -v -e gc_thresh -e _mem: | sort`

// look writes down a network: links, addresses, routes, rules, neighbors that stay, the
// rules of iptables, and the settings. in is where: a command line.
func (m *machine) look(s *story, what string, in []string) {
	m.T.Helper()
	m.Eventually("no address is tentative", func() bool {
		text, err := m.try(append(slices.Clone(in), "ip", "-6", "addr", "show", "tentative")...)
		return err == nil && strings.TrimSpace(text) == ""
	})
	run := func(argv ...string) (text string) {
		m.Eventually("it is told without an interruption", func() bool {
			text = m.do(append(slices.Clone(in), argv...)...)
			return !strings.Contains(text, "Dump was interrupted")
		})
		return text
	}
	rename := byAddress(m.T, run("ip", "-json", "-4", "addr"))
	s.note(what+": names", rename("eth0 eth1 eth2 eth3 eth4"))
	for _, x := range [][]string{{"addr"}, {"-4", "route", "show", "table", "all"}, {"-6", "route", "show", "table", "all"}, {"rule"}, {"-6", "rule"},
		{"neigh", "show", "nud", "permanent"}} {
		text := run(append([]string{"ip", "-json", "-details"}, x...)...)
		if strings.TrimSpace(text) == "" {
			text = "[]"
		}
		s.note(what+": "+strings.Join(x, " "), rename(m.objects(m.T, text)))
	}
	for _, x := range []string{"iptables-save", "ip6tables-save"} {
		lines := strings.Split(counters.ReplaceAllString(sameNames(run(x)), ""), "\n")
		s.note(what+": "+x, rename(strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#") }), "\n")))
	}
	s.note(what+": settings", rename(sameNames(run("sh", "-c", settings))))
}

// byAddress returns what calls a link of a container by its address in the place of its
// number: docker counts on, and osl takes the lowest that is free.
func byAddress(t *testing.T, text string) func(string) string {
	t.Helper()
	var list []struct {
		Name  string                   `json:"ifname"`
		Addrs []struct{ Local string } `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return func(text string) string {
		return eth.ReplaceAllStringFunc(text, func(name string) string {
			for _, l := range list {
				for _, a := range l.Addrs {
					if l.Name == name && !strings.HasPrefix(a.Local, linkLocal) {
						return "eth[" + sameNames(a.Local) + "]"
					}
				}
			}
			return name
		})
	}
}

var eth = regexp.MustCompile(`\beth\d\b`)

var counters = regexp.MustCompile(`(?m) ?\[\d+:\d+\]`)

// differences are the lines that one story has and the other does not, of each thing that
// was looked at.
func differences(a, b story) (list []string) {
	for _, what := range a.what {
		for _, l := range missing(a.lines[what], b.lines[what]) {
			list = append(list, fmt.Sprintf("%s: - %s", what, l))
		}
		for _, l := range missing(b.lines[what], a.lines[what]) {
			list = append(list, fmt.Sprintf("%s: + %s", what, l))
		}
	}
	for _, what := range b.what {
		if _, ok := a.lines[what]; !ok {
			list = append(list, fmt.Sprintf("%s: + all of it", what))
		}
	}
	return list
}

// missing are the lines of a that are not in b, as often as they are.
func missing(a, b []string) (list []string) {
	left := map[string]int{}
	for _, l := range b {
		left[l]++
	}
	for _, l := range a {
		if left[l]--; left[l] < 0 {
			list = append(list, l)
		}
	}
	return list
}
