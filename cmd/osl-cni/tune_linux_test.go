//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/seed59451c2b/osl"
)

// What the keys of the tuning plugin say is so with the interface, and CHECK sees what
// is not so any more. Another plugin of the chain may add to the settings.
func TestTuning(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	n := c.opened(ns)
	file := `{"cniVersion": "1.1.0", "name": "net6", "type": "osl", "mode": "bridge", "bridge": "cni9", "isGateway": true, "promiscMode": true,
		"promisc": true, "allmulti": true, "txQLen": 77, "mtu": 1500, "mac": "02:00:00:00:00:07",
		"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv4/conf/eth0/rp_filter": "2", "net.ipv4.ip_default_ttl": "33", "net.ipv4.ip_forward": "0"},
		"args": {"cni": {"mtu": 1400, "sysctl": {"net.ipv4.ip_forward": "1"}}},
		"ipam": {"type": "static", "addresses": [{"address": "10.80.0.9/24"}]}}`
	out := c.must("osl-cni", "ADD", "id1", ns, file)
	var settings []string
	if err := n.InvokeFunc(func() {
		for _, name := range []string{"ipv4/conf/eth0/arp_filter", "ipv4/conf/eth0/rp_filter", "ipv4/ip_default_ttl", "ipv4/ip_forward"} {
			settings = append(settings, setting(name))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(settings, " "); got != "1 2 33 1" {
		t.Errorf("the settings are %s", got)
	}
	x, err := n.Interface(t.Context(), "eth0")
	if err != nil || !x.Promisc || !x.AllMulticast || x.MTU != 1400 || x.MAC.String() != "02:00:00:00:00:07" {
		t.Errorf("%+v, %v", x, err)
	}
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if br, err := host.Interface(t.Context(), "cni9"); err != nil || !br.Promisc {
		t.Errorf("the bridge: %+v, %v", br, err)
	}
	conf := withResult(file, out)
	c.must("osl-cni", "CHECK", "id1", ns, conf)
	write := func(name, value string) func() error {
		return func() (err error) {
			return errors.Join(n.InvokeFunc(func() { err = os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644) }), err)
		}
	}
	off := false
	for _, x := range []struct {
		what        string
		spoil, mend func() error
	}{
		{"arp_filter", write("ipv4/conf/eth0/arp_filter", "0"), write("ipv4/conf/eth0/arp_filter", "1")},
		{"ip_default_ttl", write("ipv4/ip_default_ttl", "34"), write("ipv4/ip_default_ttl", "33")},
		{"promiscMode", func() error { return host.AddLink(t.Context(), osl.InterfaceSpec{Name: "cni9", Promisc: &off}) },
			func() error {
				c.must("osl-cni", "ADD", "id2", c.sandbox("c2"), strings.Replace(file, ".9/", ".10/", 1))
				return nil
			}},
	} {
		if err := x.spoil(); err != nil {
			t.Fatal(x.what, err)
		}
		if _, err := c.call("osl-cni", "CHECK", "id1", ns, conf); err == nil || !strings.Contains(err.Error(), x.what) {
			t.Errorf("CHECK does not miss %s: %v", x.what, err)
		}
		if err := x.mend(); err != nil {
			t.Fatal(x.what, err)
		}
		c.must("osl-cni", "CHECK", "id1", ns, conf)
	}
	for _, id := range []string{"id1", "id2"} {
		c.must("osl-cni", "DEL", id, "", file)
	}
	for bad, text := range map[string]string{
		`"sysctl": {"kernel.core_pattern": "x"}`:     "they begin with net.",
		`"sysctl": {"net.ipv4/../../kernel/x": "1"}`: "they begin with net.",
		`"sysctl": {"net.core.rmem_max": "1"}`:       "rmem_max",
		`"txQLen": -1`:                               "negative",
	} {
		_, err := c.call("osl-cni", "ADD", "id1", ns, `{"cniVersion": "1.1.0", "name": "net6", "type": "osl", "mode": "bridge", "bridge": "cni9", `+bad+`}`)
		if e := (*types.Error)(nil); !errors.As(err, &e) || e.Code != types.ErrInvalidNetworkConfig || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// Called as the reference plugin it has that one's keys.
	c.must("bridge", "ADD", "id1", ns, `{"cniVersion": "1.1.0", "name": "net6", "type": "bridge", "bridge": "cni9", "sysctl": {"kernel.core_pattern": "x"}}`)
	c.must("bridge", "DEL", "id1", ns, `{"cniVersion": "1.1.0", "name": "net6", "type": "bridge", "bridge": "cni9"}`)
	if !allowed("^net.ipv4\n\n", "net.ipv4.ip_forward") || allowed("^net.ipv6.*\n", "net.ipv4.ip_forward") || allowed("", "net.ipv4.ip_forward") {
		t.Error("the list of what is allowed")
	}
	if err := host.RemoveLink(t.Context(), "cni9"); err != nil {
		t.Error(err)
	}
	if left := c.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
