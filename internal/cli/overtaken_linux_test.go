package cli

import (
	"strings"
	"testing"
)

// A route of others that the kernel takes before the one that the file wants is named by diff
// and up, though there is nothing to change. One to another place, or behind it, is not.
func TestRoutesOfOthersThatComeFirst(t *testing.T) {
	file := fileOf(t, "ot", `sandboxes: [{name: ot, gateway6: "fd00::1", interfaces: [{name: e, type: bridge, addresses: ["fd00::2/64", 10.9.0.1/24]}], routes: [{to: 10.20.0.0/16, via: 10.9.0.9, metric: 50}]}]`)
	defer func() { runOSL(t, "down", "ot") }()
	want(t, exitDone, nil, "up", file)
	for route, named := range map[string]string{
		"unreachable default metric 10":         "::/0 unreachable proto boot metric 10",
		"fd00::/64 via fd00::7 metric 5":        "",
		"10.20.0.0/16 via 10.9.0.8":             "10.20.0.0/16 via 10.9.0.8 dev e proto boot metric 0",
		"10.20.0.0/16 via 10.9.0.8 metric 60":   "",
		"10.20.0.0/16 via 10.9.0.8 table 7":     "",
		"default via fd00::8 proto 5 metric 33": "::/0 via fd00::8 dev e proto 5 metric 33",
	} {
		family := "-4 "
		if strings.Contains(route, "fd00") || strings.Contains(route, "unreachable") {
			family = "-6 "
		}
		sh(t, "ip -n ot "+family+"route add "+route)
		for _, verb := range []string{"diff", "up"} {
			code, out, errs := runOSL(t, verb, file)
			if says := strings.Contains(errs, "sandbox=ot") && strings.Contains(errs, `"`+named+`"`); code != exitDone || says != (named != "") || named == "" && strings.Contains(errs, "of others") {
				t.Errorf("%s, with %s: exit code %d\n%s%s", verb, route, code, out, errs)
			}
		}
		sh(t, "ip -n ot "+family+"route del "+route)
	}
}

// One that goes with the change, since its link does, or the address by which its next hop
// is reached, is not named.
func TestRoutesOfOthersThatGo(t *testing.T) {
	file := func(link string) string {
		return fileOf(t, "ot", `sandboxes: [{name: ot, interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24]}`+link+`], routes: [{to: 10.20.0.0/16, via: 10.9.0.9, metric: 50}]}]`)
	}
	defer func() { runOSL(t, "down", "ot") }()
	for _, c := range []struct {
		left, by string
		verbs    []string
	}{
		{"", "via 10.8.0.2", []string{"diff", "up"}},
		{"", "nexthop via 10.8.0.2 nexthop via 10.9.0.7", []string{"diff", "up"}},
		{", {name: f, type: bridge}", "via 10.8.0.2", []string{"up"}},
	} {
		want(t, exitDone, nil, "up", file(", {name: f, type: bridge, addresses: [10.8.0.1/24]}"))
		sh(t, "ip -n ot route add 10.20.0.0/16 "+c.by)
		for _, verb := range c.verbs {
			if code, out, errs := runOSL(t, verb, file(c.left)); strings.Contains(errs, "of others") {
				t.Errorf("%s, with a route %s that goes: exit code %d\n%s%s", verb, c.by, code, out, errs)
			}
		}
	}
}
