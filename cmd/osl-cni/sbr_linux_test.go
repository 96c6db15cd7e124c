//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// asked is what ip says in a namespace.
func asked(t *testing.T, n *osl.Namespace, args ...string) (list []map[string]any) {
	t.Helper()
	testnet.NeedProgram(t, "ip", "iproute2")
	out, err := n.Command(t.Context(), "ip", append([]string{"-json"}, args...)...).Output()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) && strings.Contains(string(e.Stderr), "table does not exist") {
		return nil
	} else if err != nil {
		t.Fatalf("ip %v: %v", args, err)
	}
	if len(strings.TrimSpace(string(out))) > 0 {
		if err := json.Unmarshal(out, &list); err != nil {
			t.Fatalf("ip %v: %v in %s", args, err, out)
		}
	}
	return list
}

// rulesIn are the rules of a namespace beside those that the kernel begins with.
func rulesIn(t *testing.T, n *osl.Namespace) (list []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		for _, r := range asked(t, n, family, "rule") {
			if r["src"] != "all" {
				list = append(list, fmt.Sprintf("%v from %v table %v", r["priority"], r["src"], r["table"]))
			}
		}
	}
	return list
}

// routesIn are the routes of a table on an interface, without what the kernel makes for
// link-local addresses.
func routesIn(t *testing.T, n *osl.Namespace, dev, table string) (list []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		for _, r := range asked(t, n, family, "route", "show", "table", table) {
			dst := fmt.Sprint(r["dst"])
			if r["dev"] != dev || strings.HasPrefix(dst, "fe80:") || strings.HasPrefix(dst, "ff00:") || r["type"] == "local" || r["type"] == "broadcast" || r["type"] == "anycast" {
				continue
			}
			text := dst
			for _, key := range []string{"gateway", "prefsrc"} {
				if r[key] != nil {
					text += fmt.Sprintf(" %s %v", key, r[key])
				}
			}
			list = append(list, text)
		}
	}
	return list
}

// wayOf is by which interface and gateway a packet leaves, as the kernel says.
func wayOf(t *testing.T, n *osl.Namespace, to ...string) string {
	t.Helper()
	r := asked(t, n, append([]string{"route", "get"}, to...)...)[0]
	return fmt.Sprintf("%v %v", r["dev"], r["gateway"])
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nnot\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const sbrFile = `{"cniVersion": "1.1.0", "name": "net2", "type": "osl", "mode": "bridge", "bridge": "cni9", "sbr": {SBR},
	"ipam": {"type": "static", "addresses": [{"address": "10.82.0.9/24", "gateway": "10.82.0.1"}, {"address": "10.83.0.9/24", "gateway": "10.83.0.1"},
		{"address": "fd82::9/64", "gateway": "fd82::1"}],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.83.0.1"}, {"dst": "fd09::/64"}]}}`

// What comes from an address of an interface leaves by it, by rules and tables that go
// with the attachment, whatever becomes of the interface.
func TestSourceRouting(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	c.must("osl-cni", "ADD", "id1", ns, bridgeFile) // eth0 has the default route
	c.ifName = "net1"
	file := strings.Replace(sbrFile, "SBR", "", 1)
	out := c.must("osl-cni", "ADD", "id1", ns, file)
	rules := []string{"32765 from 10.82.0.9 table 100", "32764 from 10.83.0.9 table 101", "32763 from fd82::9 table 102"}
	same(t, "the rules", rulesIn(t, n), rules...)
	same(t, "the main table", routesIn(t, n, "net1", "main"))
	same(t, "the first table", routesIn(t, n, "net1", "100"), "10.82.0.0/24 prefsrc 10.82.0.9", "default gateway 10.82.0.1")
	same(t, "the second table", routesIn(t, n, "net1", "101"), "10.83.0.0/24 prefsrc 10.83.0.9", "10.9.0.0/16 gateway 10.83.0.1", "default gateway 10.83.0.1")
	same(t, "the third table", routesIn(t, n, "net1", "102"), "default gateway fd82::1", "fd09::/64 gateway fd82::1", "fd82::/64 prefsrc fd82::9")
	for to, way := range map[string]string{"192.0.2.1": "eth0 10.77.0.1", "192.0.2.1 from 10.82.0.9": "net1 10.82.0.1", "10.9.1.1 from 10.83.0.9": "net1 10.83.0.1",
		"10.82.0.77 from 10.82.0.9": "net1 <nil>", "10.82.0.77": "eth0 10.77.0.1", "2001:db8::1 from fd82::9": "net1 fd82::1"} {
		if got := wayOf(t, n, strings.Fields(to)...); got != way {
			t.Errorf("the way to %s is %s, not %s", to, got, way)
		}
	}
	conf := withResult(file, out)
	c.must("osl-cni", "CHECK", "id1", ns, conf)
	for what, spoil := range map[string]string{
		"no rule for what comes from 10.83.0.9": "rule del priority 32764",
		"fd82::9, has no default route":         "-6 route del default table 102",
		"the route to 10.9.0.0/16":              "route del 10.9.0.0/16 table 101",
	} {
		if out, err := n.Command(t.Context(), "ip", strings.Fields(spoil)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", spoil, err, out)
		}
		if _, err := c.call("osl-cni", "CHECK", "id1", ns, conf); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("CHECK after %s: %v", spoil, err)
		}
		c.must("osl-cni", "DEL", "id1", ns, conf)
		same(t, "the rules after DEL", rulesIn(t, n))
		conf = withResult(file, c.must("osl-cni", "ADD", "id1", ns, file))
	}
	same(t, "the rules", rulesIn(t, n), rules...)
	// The interface went by another hand.
	if err := n.RemoveLink(t.Context(), "net1"); err != nil {
		t.Fatal(err)
	}
	same(t, "the rules", rulesIn(t, n), rules...)
	c.must("osl-cni", "DEL", "id1", ns, conf)
	same(t, "the rules", rulesIn(t, n))
	// Rules of others stay, and are passed by.
	if out, err := n.Command(t.Context(), "ip", "rule", "add", "from", "10.82.0.9", "priority", "32765", "table", "100").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.must("osl-cni", "ADD", "id1", ns, file)
	same(t, "the rules", rulesIn(t, n), rules[0], "32764 from 10.82.0.9 table 101", "32763 from 10.83.0.9 table 102", "32762 from fd82::9 table 103")
	gc := strings.TrimSuffix(file, "}") + `, "cni.dev/valid-attachments": []}`
	c.must("osl-cni", "GC", "", "", gc)
	same(t, "the rules after GC", rulesIn(t, n), rules[0])
	if got := wayOf(t, n, "192.0.2.1"); got != "eth0 10.77.0.1" {
		t.Errorf("eth0 has lost its route: %s", got)
	}
	c.ifName = "eth0"
	c.must("osl-cni", "DEL", "id1", ns, bridgeFile)
	if left := c.left("cni9"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	removeBridge(t)
}

// The keys of the sbr plugin, with links and IPAM of other kinds.
func TestSourceRoutingKeys(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	for _, x := range []struct {
		what, file           string
		rules, main, inTable []string
	}{
		{"gateways", strings.Replace(sbrFile, "SBR", `"gateways": ["10.82.0.77", "fd82::77"]`, 1),
			[]string{"32765 from 10.82.0.9 table 100", "32764 from 10.83.0.9 table 101", "32763 from fd82::9 table 102"}, nil,
			[]string{"10.82.0.0/24 prefsrc 10.82.0.9", "default gateway 10.82.0.77"}},
		{"addSourceHints", strings.Replace(sbrFile, "SBR", `"addSourceHints": true`, 1),
			[]string{"32765 from 10.82.0.9 table 100", "32764 from 10.83.0.9 table 101", "32763 from fd82::9 table 102"},
			[]string{"10.82.0.0/24 prefsrc 10.82.0.9", "10.83.0.0/24 prefsrc 10.83.0.9", "fd82::/64 prefsrc fd82::9"},
			[]string{"10.82.0.0/24 prefsrc 10.82.0.9", "default gateway 10.82.0.1"}},
		{"table", `{"cniVersion": "1.1.0", "name": "net2", "type": "osl", "mode": "bridge", "bridge": "cni9", "sbr": {"table": 100}, "ipam": {"type": "static",
			"addresses": [{"address": "10.82.0.9/24"}], "routes": [{"dst": "10.1.0.0/16", "gw": "10.82.0.1"}, {"dst": "0.0.0.0/0", "gw": "10.82.0.1", "table": 100}]}}`,
			[]string{"32765 from 10.82.0.9 table 100"}, []string{"10.1.0.0/16 gateway 10.82.0.1", "10.82.0.0/24 prefsrc 10.82.0.9"}, []string{"default gateway 10.82.0.1"}},
		{"ptp", `{"cniVersion": "1.1.0", "name": "net2", "type": "osl", "mode": "ptp", "sbr": {}, "ipam": {"type": "static",
			"addresses": [{"address": "10.82.0.9/24", "gateway": "10.82.0.1"}], "routes": [{"dst": "0.0.0.0/0"}]}}`,
			[]string{"32765 from 10.82.0.9 table 100"}, nil, []string{"10.82.0.0/24 gateway 10.82.0.1 prefsrc 10.82.0.9", "10.82.0.1 prefsrc 10.82.0.9", "default gateway 10.82.0.1"}},
		{"an IPAM that comes last", strings.Replace(bridgeFile, `"bridge": "cni9"`, `"bridge": "cni9", "sbr": {}`, 1),
			[]string{"32765 from 10.77.0.2 table 100"}, nil, []string{"10.77.0.0/16 prefsrc 10.77.0.2", "default gateway 10.77.0.1"}},
	} {
		t.Run(x.what, func(t *testing.T) {
			c.t = t
			out := c.must("osl-cni", "ADD", "id1", ns, x.file)
			same(t, "the rules", rulesIn(t, n), x.rules...)
			same(t, "the main table", routesIn(t, n, "eth0", "main"), x.main...)
			same(t, "the table", routesIn(t, n, "eth0", "100"), x.inTable...)
			c.must("osl-cni", "CHECK", "id1", ns, withResult(x.file, out))
			c.must("osl-cni", "DEL", "id1", ns, x.file)
			same(t, "the rules after DEL", rulesIn(t, n))
			if left := c.left("cni9"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	c.t = t
	for bad, text := range map[string]string{
		`"table": 7`:                                          "vrfname",
		`"sbr": {"table": 0}`:                                 "no table 0",
		`"sbr": {"gateways": ["10.0.0.1", "x"]}`:              "",
		`"sbr": {}, "vrfname": "blue"`:                        "two ways",
		`"sbr": {"gateways": ["fd::1", "fd::2"]}`:             "one of each family",
		`"sbr": {"table": 7, "gateways": ["10.0.0.1"]}`:       "not for one that is named",
		`"sbr": {}, "ipam": {"type": ""}`:                     "ipam is missing",
		`"vrfname": "blue", "mode": "tap", "bridge": "br0"`:   "is a port of br0",
		`"sbr": {}, "mode": "loopback"`:                       "lo has no routes",
		`"vrfname": "lo", "sbr": null`:                        "lo",
		`"vrfname": "eth0"`:                                   "eth0",
		`"sbr": {"gateways": ["10.0.0.1", "fd::1", "fd::2"]}`: "one of each family",
	} {
		_, err := c.call("osl-cni", "ADD", "id1", ns, `{"cniVersion": "1.1.0", "name": "net2", "type": "osl", "mode": "macvlan", "master": "none",
			"ipam": {"type": "static", "addresses": [{"address": "10.82.0.9/24"}]}, `+bad+`}`)
		if e := (*types.Error)(nil); !errors.As(err, &e) || e.Code != types.ErrInvalidNetworkConfig && e.Code != types.ErrDecodingFailure || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// Called as the reference plugin it has not got that key.
	asBridge := `{"cniVersion": "1.1.0", "name": "net2", "type": "bridge", "bridge": "cni9", "vrfname": "blue", "sbr": {}, "table": 7}`
	c.must("bridge", "ADD", "id1", ns, asBridge)
	same(t, "the rules", rulesIn(t, n))
	c.must("bridge", "DEL", "id1", ns, asBridge)
	removeBridge(t)
}

// killADD kills ADD at moments of chance: what DEL or GC leaves is what there was.
func killADD(t *testing.T, c *cni, file string, left func(n *osl.Namespace) []string) {
	ns := c.sandbox("c1")
	n := c.opened(ns)
	began := time.Now()
	c.must("osl-cni", "ADD", "id1", ns, file)
	takes := time.Since(began) * 5 / 4
	c.must("osl-cni", "DEL", "id1", ns, file)
	rounds, killed := 0, 0
	for i := range testnet.Rounds(t, 60, 20*time.Second) {
		rounds++
		cmd := c.command("osl-cni", "ADD", "id1", ns, file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(takes))
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		if i%2 == 0 {
			c.must("osl-cni", "GC", "", "", file)
		}
		c.must("osl-cni", "DEL", "id1", ns, file)
		st, err := n.Inspect(t.Context())
		if err != nil || len(st.Interfaces) > 0 || len(st.Routes) > 0 {
			t.Fatalf("left: %+v, %v", st, err)
		}
		if list := append(left(n), c.left("cni9")...); len(list) > 0 {
			t.Fatalf("left: %v", list)
		}
	}
	t.Logf("%d of %d were killed", killed, rounds)
}

func TestSourceRoutingKilled(t *testing.T) {
	c := newCNI(t)
	killADD(t, c, strings.Replace(sbrFile, "SBR", "", 1), func(n *osl.Namespace) []string { return rulesIn(t, n) })
	removeBridge(t)
}

// Several at once in one namespace have rules and tables of their own.
func TestSourceRoutingAtOnce(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	const count = 8
	each := func(verb string) {
		var wg sync.WaitGroup
		for i := range count {
			wg.Go(func() {
				one := *c
				one.ifName = fmt.Sprintf("net%d", i)
				file := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "net2", "type": "osl", "mode": "ptp", "sbr": {}, "ipam": {"type": "static",
					"addresses": [{"address": "10.82.%d.9/24", "gateway": "10.82.%[1]d.1"}]}}`, i)
				if _, err := one.call("osl-cni", verb, "id1", ns, file); err != nil {
					t.Errorf("%s: %v", verb, err)
				}
			})
		}
		wg.Wait()
	}
	each("ADD")
	tables := map[string]bool{}
	for _, rule := range rulesIn(t, n) {
		from, table, _ := strings.Cut(rule, " table ")
		tables[table] = true
		for i := range count {
			addr := fmt.Sprintf("10.82.%d.9", i)
			if dev := fmt.Sprintf("net%d", i); strings.HasSuffix(from, " "+addr) && !slices.Contains(routesIn(t, n, dev, table), fmt.Sprintf("default gateway 10.82.%d.1", i)) {
				t.Errorf("%s: there is no default route on %s", rule, dev)
			}
		}
	}
	if len(tables) != count {
		t.Errorf("the rules are %v", rulesIn(t, n))
	}
	each("DEL")
	same(t, "the rules after DEL", rulesIn(t, n))
	if left := c.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
