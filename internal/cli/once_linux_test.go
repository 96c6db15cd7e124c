package cli

import (
	"strings"
	"testing"
)

// What there can be one of and two are to have is refused when the file is read, with the
// lines of both.
func TestRefusedTwice(t *testing.T) {
	before := traces(t)
	for _, x := range []struct {
		what, one, other, rest, says string
	}{
		{"an end on the host", "{name: e, peer: host/x}", "{name: f, peer: host/x}", "", "host/x is the other end of a/e already"},
		{"an end of a link in another sandbox", "{name: e, peer: b/x}", "{name: f, peer: b/x}", "", "b/x is the end of a link to a/e already"},
		{"a link of the host", "{name: e, source: h}", "{name: f, source: h}", "", "the host's \"h\" is taken into a/e already"},
		{"a link of the host that goes and is a parent", "{name: e, source: h}", "{name: f, type: macvlan, parent: host/h}", "", "what is on it is made there"},
		{"the name of a link that comes home", "{name: e, source: h}", "{name: f, peer: host/h}", "", "comes home one day"},
		{"a name", "{name: e, peer: host/x}", "{name: e, peer: host/y}", "", "the name is there twice"},
		{"an alternative name", "{name: e, peer: host/x}", "{name: f, peer: host/y, altnames: [e]}", "", `the name "e" is that of a/e`},
		{"a tag", "{name: e, type: vlan, vlan: 5, parent: p}", "{name: f, type: vlan, vlan: 5, parent: p}", "{name: p, peer: host/x}", "the tag 5 of a/p is that of a/e"},
		{"links of two sorts", "{name: e, type: macvlan, parent: p}", "{name: f, type: ipvlan, parent: p}", "{name: p, peer: host/x}", "is of one sort"},
		{"two modes", "{name: e, type: ipvlan, parent: host/h}", "{name: f, type: ipvlan, parent: host/h, mode: l2}", "", "have one mode"},
		{"a port that is a parent", "{name: e, type: macvlan, parent: p}", "{name: p, peer: host/x, master: b}", "{name: b, type: bridge}", "can not be a port of a bridge beside that"},
	} {
		file := fileOf(t, "lab", strings.Join([]string{"sandboxes:", "- name: a", "  interfaces:", "  - " + x.one, "  - " + x.other, "  - " + x.rest, "- name: b"}, "\n"))
		if x.rest == "" {
			file = fileOf(t, "lab", strings.Join([]string{"sandboxes:", "- name: a", "  interfaces:", "  - " + x.one, "  - " + x.other, "- name: b"}, "\n"))
		}
		for _, verb := range []string{"up", "diff"} {
			code, out, errs := runOSL(t, verb, file)
			if code != exitUsage || !strings.Contains(errs, "lab.yaml:5: ") || !strings.Contains(errs, "lab.yaml:4\n") || !strings.Contains(errs, x.says) {
				t.Errorf("%s, osl %s: exit code %d\n%s%s", x.what, verb, code, out, errs)
			}
		}
	}
	for text, says := range map[string]string{
		"neighbors: [{dev: e, ip: 10.9.0.2, mac: '02:00:00:00:00:01'},\n   {dev: e, ip: 10.9.0.2, mac: '02:00:00:00:00:02'}]": "lab.yaml:2: sandbox \"a\": another entry of e says something else of 10.9.0.2; see FILElab.yaml:1\n",
		"routes: [{to: 10.9.0.0/24, dev: e}]": "the kernel has a route to 10.9.0.0/24 by the address 10.9.0.1/24 of a/e",
		"gateway: 10.9.0.9, interfaces: [{name: x, type: bridge, master: b}, {name: b, type: bridge}]": "can not be a port of a bridge",
	} {
		if !strings.Contains(text, "interfaces") {
			text += ", interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24]}]"
		}
		file := fileOf(t, "lab", "sandboxes: [{name: a, "+text+"}]")
		says = strings.ReplaceAll(says, "FILE", strings.TrimSuffix(file, "lab.yaml"))
		if code, out, errs := runOSL(t, "up", file); code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d, no %q in\n%s%s", text, code, says, out, errs)
		}
	}
	eventually(t, func() []string { return difference(before, traces(t)) })
}
