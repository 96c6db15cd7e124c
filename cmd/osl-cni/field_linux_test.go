//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// These were seen to differ where random configurations of the reference plugins were
// given to both.

// A key that a reference plugin passes over is none of the configuration under its name:
// two containers have no hardware address in common because the bridge's file has a mac.
func TestKeysPassedOver(t *testing.T) {
	for conf, want := range map[string]string{
		`"type": "bridge", "mac": "02:00:00:00:00:07", "mtu": 1400`:                         " 1400",
		`"type": "bridge", "runtimeConfig": {"mac": "02:00:00:00:00:07"}`:                   "02:00:00:00:00:07 0",
		`"type": "ptp", "mac": "02:00:00:00:00:07", "mtu": 1400`:                            " 1400",
		`"type": "tap", "mac": "02:00:00:00:00:07", "mtu": 1400`:                            "02:00:00:00:00:07 1400",
		`"type": "macvlan", "mac": "02:00:00:00:00:07"`:                                     "02:00:00:00:00:07 0",
		`"type": "host-device", "mac": "02:00:00:00:00:07", "mtu": 1400`:                    " 0",
		`"type": "dummy", "mtu": 1400`:                                                      " 0",
		`"type": "osl", "mode": "bridge", "mac": "02:00:00:00:00:07", "mtu": 1400`:          "02:00:00:00:00:07 1400",
		`"type": "osl", "mode": "host-device", "mac": "02:00:00:00:00:07", "mtu": 1400`:     "02:00:00:00:00:07 1400",
		`"type": "host-device", "args": {"cni": {"mac": "02:00:00:00:00:07", "mtu": 1400}}`: "02:00:00:00:00:07 0",
	} {
		c, err := load(&skel.CmdArgs{StdinData: []byte(`{"cniVersion": "1.0.0", "name": "n", ` + conf + `}`)})
		if err != nil {
			t.Fatalf("%s: %v", conf, err)
		}
		if got := fmt.Sprint(c.mac, " ", c.MTU); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %q, not %q", conf, got, want)
		}
	}
}

// DEL gives the address back also where CNI_ARGS say what nobody knows: who passes them
// would try without end.
func TestDelUnknownArgs(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	conf := `{"cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "cni9", "ipam": {"type": "host-local", "subnet": "10.84.0.0/24", "dataDir": "LEASES"}}`
	c.must("bridge", "ADD", "id1", ns, conf)
	for _, args := range []string{"K8S_POD_NAME=p", "nothing", "IP=none", "MAC=none;IgnoreUnknown=1"} {
		t.Setenv("CNI_ARGS", args)
		if _, err := c.call("bridge", "ADD", "id2", ns, conf); err == nil {
			t.Errorf("ADD with %s succeeds", args)
		}
		c.must("bridge", "DEL", "id1", ns, conf)
		c.must("host-local", "DEL", "id1", ns, conf)
	}
	if list, _ := filepath.Glob(filepath.Join(c.leases, "n", "10.*")); len(list) > 0 {
		t.Errorf("left: %v", list)
	}
	if err := mustHost(t).RemoveLink(t.Context(), "cni9"); err != nil {
		t.Error(err)
	}
}

// The bridge has the MTU of its ports, whatever it was made for.
func TestBridgeMTU(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	host := mustHost(t)
	for _, mtu := range []int{1400, 1500, 9000} {
		conf := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "n%d", "type": "bridge", "bridge": "cni9", "mtu": %d}`, mtu, mtu)
		c.must("bridge", "ADD", "id1", ns, conf)
		if x, err := host.Interface(t.Context(), "cni9"); err != nil || x.MTU != mtu {
			t.Errorf("with a port of %d bytes: %v, %v", mtu, x, err)
		}
		c.must("bridge", "DEL", "id1", ns, conf)
	}
	if err := host.RemoveLink(t.Context(), "cni9"); err != nil {
		t.Error(err)
	}
	for _, mtu := range []int{-1, 65536} {
		conf := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "cni9", "mtu": %d}`, mtu)
		if _, err := c.call("bridge", "ADD", "id1", ns, conf); err == nil || len(c.left()) > 0 {
			t.Errorf("the mtu %d: %v, left: %v", mtu, err, c.left())
		}
	}
}

const ptpFile = `{"cniVersion": "1.1.0", "name": "net1", "type": "ptp", "ipam": {"type": "static",
	"addresses": [{"address": "10.85.0.5/24", "gateway": "10.85.0.1"}, {"address": "fd00:85::5/64", "gateway": "fd00:85::1"}],
	"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "203.0.113.0/24", "gw": "10.85.0.9"}, {"dst": "2001:db8::/64", "gw": "fd00:85::9"}]}}`

// Others find the gateway of a ptp network by its route, such as the plugin sbr, and
// routes of the file may be by any address of the subnet.
func TestPTPGateway(t *testing.T) {
	c := newCNI(t)
	if err := os.Symlink(testnet.NeedProgram(t, filepath.Join(chainPlugins, "sbr"), "containernetworking-plugins"), filepath.Join(c.bin, "sbr")); err != nil {
		t.Fatal(err)
	}
	ns := c.sandbox("c1")
	conf := `{"cniVersion": "1.0.0", "name": "net1", "type": "ptp", "ipam": {"type": "static",
		"addresses": [{"address": "10.85.0.5/24", "gateway": "10.85.0.1"}], "routes": [{"dst": "0.0.0.0/0"}]}}`
	out := c.must("ptp", "ADD", "id1", ns, conf)
	c.must("sbr", "ADD", "id1", ns, withResult(`{"cniVersion": "1.0.0", "name": "net1", "type": "sbr"}`, out))
	c.must("ptp", "DEL", "id1", ns, withResult(conf, out))
	conf = ptpFile
	out = c.must("ptp", "ADD", "id1", ns, conf)
	c.must("ptp", "CHECK", "id1", ns, withResult(conf, out))
	host := mustHost(t)
	end, err := host.Interface(t.Context(), hostEnd(&skel.CmdArgs{ContainerID: "id1", IfName: "eth0", Netns: ns}))
	if err != nil {
		t.Fatal(err)
	}
	if v := setting("ipv6/conf/" + end.Name + "/accept_ra"); v != "0" {
		t.Errorf("the host's end takes the container for a router: accept_ra %s", v)
	}
	c.must("ptp", "DEL", "id1", ns, withResult(conf, out))
	if left := c.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A route without a gateway is one to what is on the link.
func TestRouteOnLink(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	conf := `{"cniVersion": "1.1.0", "name": "n", "type": "bridge", "bridge": "cni9", "ipam": {"type": "static", "addresses": [{"address": "10.86.0.5/24"}],
		"routes": [{"dst": "198.51.100.0/24", "priority": 7}, {"dst": "203.0.113.0/24"}]}}`
	c.must("bridge", "ADD", "id1", ns, conf)
	ip := testnet.NeedProgram(t, "ip", "iproute2")
	for to, want := range map[string]string{"198.51.100.0/24": "scope link metric 7", "203.0.113.0/24": "scope link"} {
		out, err := exec.Command(ip, "-n", filepath.Base(ns), "route", "show", to).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %s, %v", to, out, err)
		}
	}
	c.must("bridge", "DEL", "id1", ns, conf)
	if err := mustHost(t).RemoveLink(t.Context(), "cni9"); err != nil {
		t.Error(err)
	}
}

// Neighbors hear of an IPv6 address that comes, and it is of use at once.
func TestAnnounced6(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	// As a new namespace of another program has it.
	if err := n.InvokeFunc(func() {
		for name, v := range map[string]string{"disable_ipv6": "0", "accept_dad": "1", "ndisc_notify": "0"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/"+name, []byte(v), 0); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	c.must("ptp", "ADD", "id1", ns, ptpFile)
	if err := n.InvokeFunc(func() {
		if dad, notify := setting("ipv6/conf/eth0/accept_dad"), setting("ipv6/conf/eth0/ndisc_notify"); dad != "0" || notify != "1" {
			t.Errorf("accept_dad %s, ndisc_notify %s", dad, notify)
		}
	}); err != nil {
		t.Fatal(err)
	}
	c.must("ptp", "DEL", "id1", ns, ptpFile)
}

// A version whose results have room for one address of a family gets no two.
func TestOneAddressEach(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	conf := `{"cniVersion": "VERSION", "name": "n", "type": "ptp", "ipam": {"type": "static", "addresses": [{"address": "10.87.0.5/24", "gateway": "10.87.0.1"}, {"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]}}`
	_, err := c.call("ptp", "ADD", "id1", ns, strings.Replace(conf, "VERSION", "0.2.0", 1))
	if e, ok := err.(*types.Error); !ok || e.Code != types.ErrInvalidNetworkConfig {
		t.Errorf("0.2.0: %v", err)
	}
	conf = strings.Replace(conf, "VERSION", "0.3.1", 1)
	c.must("ptp", "ADD", "id1", ns, conf)
	c.must("ptp", "DEL", "id1", ns, conf)
}

// A macvlan and an ipvlan have the mode of the file, or the reference plugin's where that
// says none, and CHECK sees that one has another.
func TestFeatureLinkMode(t *testing.T) {
	for kind, modes := range map[string][]string{"macvlan": {"bridge", "private", "vepa"}, "ipvlan": {"l2", "l3", "l3s"}} {
		t.Run(kind, func(t *testing.T) {
			c := newCNI(t)
			ip := testnet.NeedProgram(t, "ip", "iproute2")
			ns := c.sandbox("c1")
			host := mustHost(t)
			if err := host.AddLink(t.Context(), osl.InterfaceSpec{Name: "up9", Type: "veth", Peer: osl.Endpoint{Sandbox: c.sandbox("far"), Interface: "m"}}); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = host.RemoveLink(t.Context(), "up9") }()
			for i, mode := range append(modes, "") {
				conf := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "n", "type": %q, "master": "up9", "mode": %q}`, kind, mode)
				out, err := c.call(kind, "ADD", "id1", ns, conf)
				if lacksLink(err) {
					t.Skip(err)
				} else if err != nil {
					t.Fatal(err)
				}
				is := func(mode string) bool {
					out, err := exec.Command(ip, "-n", filepath.Base(ns), "-d", "link", "show", "eth0").CombinedOutput()
					if err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					return strings.Contains(string(out), "mode "+mode+" ")
				}
				if want := append(modes, modes[0])[i]; !is(want) {
					t.Errorf("mode %q makes it another than %s", mode, want)
				}
				c.must(kind, "CHECK", "id1", ns, withResult(conf, out))
				other := modes[(i+1)%len(modes)]
				if out, err := exec.Command(ip, "-n", filepath.Base(ns), "link", "set", "eth0", "type", kind, "mode", other).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if _, err := c.call(kind, "CHECK", "id1", ns, withResult(conf, out)); err == nil {
					t.Errorf("mode %q, which is %s now: CHECK succeeds", mode, other)
				}
				c.must(kind, "DEL", "id1", ns, conf)
			}
		})
	}
}

func mustHost(t *testing.T) *osl.Namespace {
	t.Helper()
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	return host
}
