//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

const vrfFile = `{"cniVersion": "1.1.0", "name": "net4", "type": "osl", "mode": "bridge", "bridge": "cni9", "vrfname": "blue", {KEYS}
	"ipam": {"type": "static", "addresses": [{"address": "10.84.0.9/24", "gateway": "10.84.0.1"}, {"address": "fd84::9/64", "gateway": "fd84::1"}],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16"}, {"dst": "::/0"}]}}`

func vrfConfig(keys string) string { return strings.Replace(vrfFile, "{KEYS}", keys, 1) }

// addFeature is an ADD that may be what the kernel can not do: then it says so, and leaves
// nothing.
func addFeature(t *testing.T, c *cni, feature, plugin, ns, file string) []byte {
	t.Helper()
	out, err := c.call(plugin, "ADD", "id1", ns, file)
	var e *types.Error
	if errors.As(err, &e) && e.Code == types.ErrUnsupportedField {
		if left := c.left("cni9"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if len(c.left()) > 0 {
			removeBridge(t)
		}
		err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	testnet.Feature(t, feature, err)
	return out
}

// vrfOf is the VRF that an interface is in, and its table, as ip says.
func vrfOf(t *testing.T, n *osl.Namespace, name string) string {
	t.Helper()
	x := asked(t, n, "-details", "link", "show", "dev", name)[0]
	if x["master"] == nil {
		return "none"
	}
	v := asked(t, n, "-details", "link", "show", "dev", x["master"].(string))[0]
	info := v["linkinfo"].(map[string]any)
	return fmt.Sprintf("%v %v %v", v["ifname"], info["info_kind"], info["info_data"].(map[string]any)["table"])
}

// An interface is in a VRF with all its routes; the VRF comes with the first and goes
// with the last.
func TestFeatureVRF(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	one := vrfConfig("")
	out := addFeature(t, c, "osl-cni in a VRF", "osl-cni", ns, one)
	if got := vrfOf(t, n, "eth0"); got != "blue vrf 100" {
		t.Errorf("eth0 is in %s", got)
	}
	table := []string{"10.84.0.0/24 prefsrc 10.84.0.9", "10.9.0.0/16 gateway 10.84.0.1", "default gateway 10.84.0.1", "default gateway fd84::1", "fd84::/64"}
	same(t, "the table", routesIn(t, n, "eth0", "100"), table...)
	same(t, "the main table", routesIn(t, n, "eth0", "main"))
	if got := wayOf(t, n, "192.0.2.1", "vrf", "blue"); got != "eth0 10.84.0.1" {
		t.Errorf("the way is %s", got)
	}
	conf := withResult(one, out)
	c.must("osl-cni", "CHECK", "id1", ns, conf)

	// A second one in the same VRF, of another network; a third with the same subnet in
	// another VRF, with another table.
	c.ifName = "net1"
	two := `{"cniVersion": "1.1.0", "name": "net5", "type": "osl", "mode": "ptp", "vrfname": "blue", "table": 100, "ipam": {"type": "static",
		"addresses": [{"address": "10.85.0.9/24", "gateway": "10.85.0.1"}], "routes": [{"dst": "10.10.0.0/16"}]}}`
	out2 := c.must("osl-cni", "ADD", "id1", ns, two)
	if got := vrfOf(t, n, "net1"); got != "blue vrf 100" {
		t.Errorf("net1 is in %s", got)
	}
	same(t, "the table", routesIn(t, n, "net1", "100"), "10.10.0.0/16 gateway 10.85.0.1", "10.85.0.0/24 gateway 10.85.0.1 prefsrc 10.85.0.9", "10.85.0.1 prefsrc 10.85.0.9")
	c.must("osl-cni", "CHECK", "id1", ns, withResult(two, out2))
	c.ifName = "net2"
	three := strings.NewReplacer("blue", "red", "net4", "net6", "cni9", "cni8").Replace(one)
	c.must("osl-cni", "ADD", "id1", ns, three)
	if got := vrfOf(t, n, "net2"); got != "red vrf 101" {
		t.Errorf("net2 is in %s", got)
	}
	c.ifName = "net3"
	if _, err := c.call("osl-cni", "ADD", "id1", ns, strings.Replace(two, `"table": 100`, `"table": 7`, 1)); err == nil || !strings.Contains(err.Error(), "with the table 100, not 7") {
		t.Errorf("a VRF with another table: %v", err)
	}
	if _, err := c.call("osl-cni", "ADD", "id1", ns, strings.Replace(two, `"blue"`, `"eth0"`, 1)); err == nil || !strings.Contains(err.Error(), "is no VRF") {
		t.Errorf("what is no VRF: %v", err)
	}
	c.ifName = "net2"
	c.must("osl-cni", "GC", "", "", strings.TrimSuffix(three, "}")+`, "cni.dev/valid-attachments": []}`)
	c.ifName = "eth0"
	c.must("osl-cni", "CHECK", "id1", ns, conf)
	same(t, "what is there", linksIn(t, n), "blue", "eth0", "net1")

	for what, spoil := range map[string]string{"no port of the VRF blue": "link set eth0 nomaster", "VRF blue is not there": "link set blue down", "the route to 10.9.0.0/16": "route del 10.9.0.0/16 table 100"} {
		if out, err := n.Command(t.Context(), "ip", strings.Fields(spoil)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", spoil, err, out)
		}
		if _, err := c.call("osl-cni", "CHECK", "id1", ns, conf); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("CHECK after %s: %v", spoil, err)
		}
		if out, err := n.Command(t.Context(), "ip", "link", "set", "blue", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		c.must("osl-cni", "DEL", "id1", ns, conf)
		same(t, "what is there", linksIn(t, n), "blue", "net1")
		conf = withResult(one, c.must("osl-cni", "ADD", "id1", ns, one))
	}
	c.must("osl-cni", "DEL", "id1", ns, conf)
	c.ifName = "net1"
	c.must("osl-cni", "DEL", "id1", ns, two)
	same(t, "what is there", linksIn(t, n))

	// The VRF of another program stays.
	if out, err := n.Command(t.Context(), "ip", "link", "add", "blue", "type", "vrf", "table", "55").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := n.Command(t.Context(), "ip", "link", "set", "blue", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.ifName = "eth0"
	late := strings.Replace(bridgeFile, `"bridge": "cni9"`, `"bridge": "cni9", "vrfname": "blue"`, 1)
	for range 2 {
		out = c.must("osl-cni", "ADD", "id1", ns, late)
		if got := vrfOf(t, n, "eth0"); got != "blue vrf 55" {
			t.Errorf("eth0 is in %s", got)
		}
		same(t, "the table", routesIn(t, n, "eth0", "55"), "10.77.0.0/16 prefsrc 10.77.0.2", "default gateway 10.77.0.1")
		c.must("osl-cni", "CHECK", "id1", ns, withResult(late, out))
		c.must("osl-cni", "DEL", "id1", ns, late)
		same(t, "what is there", linksIn(t, n), "blue")
	}
	if out, err := n.Command(t.Context(), "ip", "link", "del", "blue").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// With IPAM that comes last, and without a VRF that is there.
	c.must("osl-cni", "ADD", "id1", ns, late)
	same(t, "the table", routesIn(t, n, "eth0", "100"), "10.77.0.0/16 prefsrc 10.77.0.2", "default gateway 10.77.0.1")
	c.must("osl-cni", "DEL", "id1", ns, late)
	// IPAM that fails when the VRF is there.
	if _, err := c.call("osl-cni", "ADD", "id1", ns, strings.Replace(late, `"dir"`, `"fail": "ADD", "dir"`, 1)); err == nil {
		t.Error("an IPAM that fails")
	}
	same(t, "what is there", linksIn(t, n))
	if left := c.left("cni8", "cni9"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	removeBridge(t)
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := host.RemoveLink(t.Context(), "cni8"); err != nil {
		t.Error(err)
	}
}

// linksIn are the links of a namespace beside lo.
func linksIn(t *testing.T, n *osl.Namespace) (list []string) {
	t.Helper()
	for _, x := range asked(t, n, "link") {
		if x["ifname"] != "lo" {
			list = append(list, x["ifname"].(string))
		}
	}
	return list
}

// Each kind of interface can be in a VRF, and have a table of its own; what belongs to the
// host comes home without.
func TestTablesOfKinds(t *testing.T) {
	c := newCNI(t)
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	ipam := `"ipam": {"type": "static", "addresses": [{"address": "10.78.0.9/24", "gateway": "10.78.0.1"}, {"address": "fd78::9/64", "gateway": "fd78::1"}], "routes": [{"dst": "10.1.0.0/16"}]}}`
	for kind, keys := range map[string]string{
		"ptp":         ``,
		"tap":         ``,
		"dummy":       ``,
		"macvlan":     `"master": "m0",`,
		"ipvlan":      `"master": "m0", "linkMode": "l2",`,
		"vlan":        `"master": "m0", "vlanId": 7,`,
		"host-device": `"device": "m0",`,
	} {
		for what, option := range map[string]string{"in a VRF": `"vrfname": "blue"`, "with sbr": `"sbr": {}`} {
			t.Run(kind+" "+what, func(t *testing.T) {
				c.t = t
				if kind == "tap" {
					testnet.NeedTun(t)
				}
				if err := host.AddLink(t.Context(), osl.InterfaceSpec{Name: "m0", Type: "veth", Peer: osl.Endpoint{Sandbox: c.sandbox("far"), Interface: "m"}}); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := host.RemoveLink(t.Context(), "m0"); err != nil {
						t.Error(err)
					}
				}()
				ns := c.sandbox("c1")
				n := c.opened(ns)
				file := `{"cniVersion": "1.1.0", "name": "net2", "type": "osl", "mode": "` + kind + `", ` + keys + option + `, ` + ipam
				out, err := c.call("osl-cni", "ADD", "id1", ns, file)
				if lacksLink(err) {
					same(t, "what is there", linksIn(t, n))
					t.Skip(err)
				} else if err != nil {
					t.Fatal(err)
				}
				if routes := strings.Join(routesIn(t, n, "eth0", "100"), "\n"); !strings.Contains(routes, "10.1.0.0/16 gateway 10.78.0.1") {
					t.Errorf("the table has\n%s", routes)
				}
				same(t, "the main table", routesIn(t, n, "eth0", "main"))
				c.must("osl-cni", "CHECK", "id1", ns, withResult(file, out))
				c.must("osl-cni", "DEL", "id1", ns, file)
				same(t, "what is there", linksIn(t, n))
				same(t, "the rules", rulesIn(t, n))
				if left := c.left("m0"); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
				if kind == "host-device" && vrfOf(t, host, "m0") != "none" {
					t.Error("m0 has come home with a master")
				}
			})
		}
	}
}

// Of an ADD that is killed the VRF does not stay either.
func TestFeatureVRFKilled(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c0")
	file := vrfConfig(`"table": 77,`)
	addFeature(t, c, "osl-cni in a VRF, killed", "osl-cni", ns, file)
	c.must("osl-cni", "DEL", "id1", ns, file)
	killADD(t, c, file, func(n *osl.Namespace) []string { return rulesIn(t, n) })
	removeBridge(t)
}
