//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

const bridgeFile = `{"cniVersion": "1.1.0", "name": "net1", "type": "osl", "mode": "bridge", "bridge": "cni9", "isDefaultGateway": true,
	"ipam": {"type": "fake-ipam", "dir": "LEASES"}}`

// Each verb, for an interface on a bridge; what is made is what the result says, and
// CHECK sees each thing that is not so any more.
func TestBridge(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	if out := string(c.must("osl-cni", "VERSION", "", "", "")); !strings.Contains(out, "1.1.0") || !strings.Contains(out, "0.3.1") {
		t.Errorf("VERSION: %s", out)
	}
	c.must("osl-cni", "STATUS", "", "", bridgeFile)
	out := c.must("osl-cni", "ADD", "id1", ns, bridgeFile)
	r := c.result(out)
	if len(r.Interfaces) != 3 || r.Interfaces[2].Sandbox != ns || len(r.IPs) != 1 || r.IPs[0].Gateway.String() != "10.77.0.1" || *r.IPs[0].Interface != 2 {
		t.Fatalf("ADD: %s", out)
	}
	n := c.opened(ns)
	st, err := n.Inspect(t.Context())
	if err != nil || st.Gateway.String() != "10.77.0.1" || st.Interfaces[0].MAC.String() != r.Interfaces[2].Mac || !st.Interfaces[0].Carrier {
		t.Errorf("inside: %+v, %v", st, err)
	}
	conf := withResult(bridgeFile, out)
	c.must("osl-cni", "CHECK", "id1", ns, conf)
	if _, err := c.call("osl-cni", "ADD", "id1", ns, bridgeFile); err == nil {
		t.Error("a second ADD succeeds")
	}
	if len(c.left("cni9")) != 2 {
		t.Errorf("after a second ADD: %v", c.left("cni9"))
	}
	c.must("osl-cni", "CHECK", "id1", ns, conf)
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for what, breakIt := range map[string]func() error{
		"address": func() error { return n.RemoveAliasIP("eth0", &r.IPs[0].Address) },
		"route":   func() error { return n.UnsetGateway() },
	} {
		if err := breakIt(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.call("osl-cni", "CHECK", "id1", ns, conf); err == nil {
			t.Errorf("CHECK does not miss the %s", what)
		}
		c.must("osl-cni", "DEL", "id1", ns, conf)
		out = c.must("osl-cni", "ADD", "id1", ns, bridgeFile)
		conf, r = withResult(bridgeFile, out), c.result(out)
	}
	// GC leaves what is valid, and takes away what is not.
	gc := strings.TrimSuffix(bridgeFile, "}") + `, "cni.dev/valid-attachments": [{"containerID": "id1", "ifname": "eth0"}]}`
	ns2 := c.sandbox("c2")
	c.must("osl-cni", "ADD", "id2", ns2, bridgeFile)
	c.must("osl-cni", "GC", "", "", gc)
	if len(c.left("cni9")) != 2 {
		t.Errorf("after GC: %v", c.left("cni9"))
	}
	c.must("osl-cni", "CHECK", "id1", ns, conf)
	// DEL of what is gone, of a namespace that is gone, of what never was.
	for range 2 {
		c.must("osl-cni", "DEL", "id1", ns, conf)
	}
	c.must("osl-cni", "ADD", "id1", ns, bridgeFile)
	c.must("osl-cni", "DEL", "id1", "", bridgeFile)
	c.must("osl-cni", "ADD", "id1", ns, bridgeFile)
	if err := n.Destroy(); err != nil {
		t.Fatal(err)
	}
	c.must("osl-cni", "DEL", "id1", ns, bridgeFile)
	c.must("osl-cni", "DEL", "id7", "/run/netns/never", bridgeFile)
	if left := c.left("cni9"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := host.RemoveLink(t.Context(), "cni9"); err != nil {
		t.Error(err)
	}
}

// What can not be done has one of CNI's codes, and nothing is left.
func TestErrors(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	for conf, code := range map[string]uint{
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl"}`:                                                                                    types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "bond"}`:                                                                    types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "bridge", "hairpinMode": true, "promiscMode": true}`:                        types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "bridge", "mac": "x"}`:                                                      types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "bridge", "mtu": "big"}`:                                                    types.ErrDecodingFailure,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "bridge", "bridge": "cni9", "macspoofchk": true}`:                           types.ErrUnsupportedField,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "bridge", "bridge": "lo"}`:                                                  types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "host-device", "device": "none"}`:                                           types.ErrInternal,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "dummy"}`:                                                                   types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "ptp", "ipam": {"type": "static", "addresses": [{"address": "10.0.0.1"}]}}`: types.ErrInvalidNetworkConfig,
		`{"cniVersion": "1.0.0", "name": "n", "type": "osl", "mode": "ptp", "ipam": {"type": "fake-ipam", "dir": "LEASES", "fail": "ADD"}}`:      types.ErrTryAgainLater,
		`{"cniVersion": "9.0.0", "name": "n", "type": "osl", "mode": "ptp"}`:                                                                     types.ErrIncompatibleCNIVersion,
	} {
		_, err := c.call("osl-cni", "ADD", "id1", ns, conf)
		var e *types.Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v", conf, err)
		}
	}
	if _, err := c.call("osl-cni", "ADD", "id1", "/run/netns/never", bridgeFile); err == nil {
		t.Error("a namespace that is not there")
	}
	// What fails when addresses are there gives them back.
	bad := strings.Replace(bridgeFile, `"bridge": "cni9"`, `"bridge": "lo"`, 1)
	if _, err := c.call("osl-cni", "ADD", "id1", ns, bad); err == nil {
		t.Error("lo is a bridge")
	}
	if left := c.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// 32 at once get 32 addresses on one bridge that the first makes.
func TestAtOnce(t *testing.T) {
	c := newCNI(t)
	const count = 32
	var keys [count]string
	for i := range keys {
		keys[i] = c.sandbox(fmt.Sprintf("c%d", i))
	}
	each := func(verb string) {
		var wg sync.WaitGroup
		for i, ns := range keys {
			wg.Go(func() {
				if _, err := c.call("osl-cni", verb, fmt.Sprintf("id%d", i), ns, bridgeFile); err != nil {
					t.Errorf("%s: %v", verb, err)
				}
			})
		}
		wg.Wait()
	}
	each("ADD")
	if left := c.left("cni9"); len(left) != 2*count {
		t.Errorf("%d: %v", len(left), left)
	}
	each("DEL")
	if left := c.left("cni9"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	removeBridge(t)
}

// removeBridge takes away the bridge of the host that the test's network had.
func removeBridge(t *testing.T) {
	t.Helper()
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := host.RemoveLink(t.Context(), "cni9"); err != nil {
		t.Error(err)
	}
}

// A configuration that was edited since the ADD, so that a key has a value of another type,
// keeps nothing from DEL, unless the key says what there is to take away; the other verbs
// refuse it.
func TestEditedToNonsense(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	before := c.left()
	for edit, ends := range map[string]bool{`"mtu": "a lot"`: true, `"isGateway": "yes"`: true, `"vlan": [7]`: true, `"runtimeConfig": 7`: true,
		`"args": []`: true, `"ipMasq": 1`: false, `"sbr": 7`: false, `"sbr": {"gateways": ["x"]}`: false, `"vrfname": 7`: false,
		`"useInterfaceNetwork": 1`: false, `"mode": 7`: false, `"ipam": 7`: false, `"mtu": "a lot", "ipMasq": 1`: false} {
		c.must("osl-cni", "ADD", "id1", ns, bridgeFile)
		edited := strings.TrimSuffix(bridgeFile, "}") + ", " + edit + "}" // of a key that is there twice the second counts
		verbs := []string{"ADD", "CHECK", "STATUS", "GC"}
		if !ends {
			verbs = append(verbs, "DEL")
		}
		for _, verb := range verbs {
			if _, err := c.call("osl-cni", verb, "id1", ns, edited); err == nil {
				t.Errorf("%s takes %s", verb, edit)
			}
		}
		if _, err := n.Interface(t.Context(), "eth0"); err != nil {
			t.Errorf("%s: %v", edit, err)
		}
		if !ends {
			edited = bridgeFile
		}
		c.must("osl-cni", "DEL", "id1", ns, edited)
		removeBridge(t)
		if now := c.left(); !slices.Equal(now, before) {
			t.Errorf("%s: left %q, before %q", edit, now, before)
		}
	}
}

// An ADD that is killed at any moment leaves nothing when DEL, or GC, has run.
func TestKilled(t *testing.T) {
	c := newCNI(t)
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	killed, rounds, dir := 0, 0, t.TempDir()
	local := `{"cniVersion": "1.1.0", "name": "net8", "type": "osl", "mode": "bridge", "bridge": "cni9", "isGateway": true, "ipMasq": true,
		"ipam": {"type": "host-local", "dataDir": "` + dir + `", "subnet": "10.83.0.0/16"}}`
	// The moments are those that an ADD has on this machine, however busy it is.
	began := time.Now()
	c.must("osl-cni", "ADD", "id0", c.sandbox("k0"), bridgeFile)
	takes := time.Since(began) * 5 / 4
	c.must("osl-cni", "DEL", "id0", "", bridgeFile)
	for i := range testnet.Rounds(t, 200, 20*time.Second) {
		rounds++
		ns := c.sandbox("k1")
		file := bridgeFile
		if i%2 == 1 {
			file = local
		}
		cmd := c.command("osl-cni", "ADD", "id1", ns, file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(takes))
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		switch i % 3 {
		case 0:
			c.must("osl-cni", "DEL", "id1", ns, file)
		case 1:
			if err := osl.Remove(t.Context(), "k1"); err != nil {
				t.Fatal(err)
			}
			c.must("osl-cni", "DEL", "id1", ns, file)
		default:
			c.must("osl-cni", "GC", "", "", file)
			c.must("osl-cni", "DEL", "id1", ns, file)
		}
		if left := append(c.left("cni9"), masqueraded(t)...); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
		if n, err := osl.Open(t.Context(), ns); err == nil {
			if st, err := n.Inspect(t.Context()); err != nil || len(st.Interfaces) > 0 {
				t.Fatalf("left inside: %+v, %v", st, err)
			}
			n.Close()
		}
		_ = osl.Remove(t.Context(), "k1")
		if err := host.RemoveLink(t.Context(), "cni9"); err != nil && !gone(err) {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d were killed", killed, rounds)
	// An empty reservation is free with the next ADD.
	c.must("host-local", "ADD", "id2", "/n", local)
	c.must("host-local", "DEL", "id2", "/n", local)
	if left := reserved(t, filepath.Join(dir, "net8")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// The other kinds of interfaces, by the name of the reference plugin, in each version
// of the specification.
func TestKinds(t *testing.T) {
	c := newCNI(t)
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for _, v := range version.All.SupportedVersions() {
		begin := `{"cniVersion": "` + v + `", "name": "net2", `
		ipam := `"ipam": {"type": "static", "addresses": [{"address": "10.78.0.9/24", "gateway": "10.78.0.1"}], "routes": [{"dst": "10.1.0.0/16"}]}}`
		for kind, conf := range map[string]string{
			"loopback":    `"type": "loopback"}`,
			"ptp":         `"type": "ptp", "mtu": 1400, ` + ipam,
			"tap":         `"type": "tap", "mtu": 1400, ` + ipam,
			"macvlan":     `"type": "macvlan", "master": "m0", "mode": "private", ` + ipam,
			"ipvlan":      `"type": "ipvlan", "master": "m0", "mode": "l3", ` + ipam,
			"vlan":        `"type": "vlan", "master": "m0", "vlanId": 7, ` + ipam,
			"dummy":       `"type": "dummy", ` + ipam,
			"host-device": `"type": "host-device", "device": "m0", ` + ipam,
			"bridge":      `"type": "bridge", "bridge": "cni9", "isGateway": true, ` + ipam,
		} {
			t.Run(v+" "+kind, func(t *testing.T) {
				c.t = t
				if kind == "tap" {
					testnet.NeedTun(t)
				}
				if err := host.AddLink(t.Context(), osl.InterfaceSpec{Name: "m0", Type: "veth", Peer: osl.Endpoint{Sandbox: c.sandbox("far"), Interface: "m"}}); err != nil {
					t.Fatal(err)
				}
				ns := c.sandbox("c1")
				out, err := c.call(kind, "ADD", "id1", ns, begin+conf)
				if lacks := lacksLink(err); err != nil && !lacks {
					t.Fatal(err)
				} else if lacks {
					defer t.Skip(err)
				} else if ok, _ := version.GreaterThanOrEqualTo(v, "0.4.0"); ok {
					c.must(kind, "CHECK", "id1", ns, withResult(begin+conf, out))
				}
				if ok, _ := version.GreaterThanOrEqualTo(v, "1.1.0"); ok && err == nil {
					c.must(kind, "STATUS", "", "", begin+conf)
				}
				c.must(kind, "DEL", "id1", ns, begin+conf)
				if err := host.RemoveLink(t.Context(), "m0"); err != nil {
					t.Error(err)
				}
				if left := c.left("cni9"); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
			})
		}
	}
	_ = host.RemoveLink(t.Context(), "cni9")
}

// lacksLink reports whether the kernel has no links of a type; any other refusal is a fault.
func lacksLink(err error) bool {
	var e *types.Error
	return errors.As(err, &e) && e.Code == types.ErrUnsupportedField && strings.Contains(err.Error(), "the kernel lacks this type of link")
}
