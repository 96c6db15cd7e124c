//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// chainPlugins is where Debian has the reference plugins (containernetworking-plugins).
const chainPlugins = "/usr/lib/cni"

// The plugins of a chain work after osl-cni with its result: a port of the host leads to
// the container, its link is shaped, and the firewall lets it through; with DEL of each
// there is nothing left of them.
func TestChain(t *testing.T) {
	testnet.NeedProgram(t, "iptables", "iptables")
	testnet.NeedProgram(t, "tc", "iproute2")
	c := newCNI(t)
	for _, name := range []string{"portmap", "bandwidth", "firewall", "tuning"} {
		plugin := testnet.NeedProgram(t, filepath.Join(chainPlugins, name), "containernetworking-plugins")
		if err := os.Symlink(plugin, filepath.Join(c.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	p := netip.MustParsePrefix
	far := c.sandbox("far")
	if err := host.AddLink(t.Context(), osl.InterfaceSpec{Name: "up0", Type: "veth", Peer: osl.Endpoint{Sandbox: far, Interface: "e"}, Aliases: []netip.Prefix{p("192.0.2.1/24")}}); err != nil {
		t.Fatal(err)
	}
	if err := osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: far, Interfaces: []osl.InterfaceSpec{{Name: "e", Addresses: []netip.Prefix{p("192.0.2.2/24")}}}}}}); err != nil {
		t.Fatal(err)
	}
	ns := c.sandbox("c1")
	head := `{"cniVersion": "1.0.0", "name": "net7", "type": "`
	file := head + `osl", "mode": "bridge", "bridge": "cni9", "isDefaultGateway": true, "ipMasq": true,
		"runtimeConfig": {"mac": "02:00:00:00:00:09", "ips": ["10.82.0.9/24"]}, "ipam": {"type": "static"}}`
	out := c.must("osl-cni", "ADD", "id1", ns, file)
	if r := c.result(out); r.Interfaces[2].Mac != "02:00:00:00:00:09" || r.IPs[0].Address.String() != "10.82.0.9/24" {
		t.Errorf("the capabilities mac and ips: %s", out)
	}
	chain := [][2]string{
		{"tuning", head + `tuning", "mtu": 1400}`},
		{"firewall", head + `firewall", "backend": "iptables"}`},
		{"bandwidth", head + `bandwidth", "capabilities": {"bandwidth": true}, "runtimeConfig": {"bandwidth": {"ingressRate": 80000000, "ingressBurst": 80000000}}}`},
		{"portmap", head + `portmap", "snat": true, "capabilities": {"portMappings": true}, "runtimeConfig": {"portMappings": [{"hostPort": 8099, "containerPort": 80, "protocol": "tcp"}]}}`},
	}
	for _, x := range chain {
		if out, err = c.call(x[0], "ADD", "id1", ns, withResult(x[1], out)); err != nil {
			t.Fatalf("%s after osl-cni: %v", x[0], err)
		}
	}
	n := c.opened(ns)
	f, err := osl.Open(t.Context(), far)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var l net.Listener
	if err := errors.Join(n.InvokeFunc(func() { l, err = net.Listen("tcp", ":80") }), err); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conn net.Conn
	if err := errors.Join(f.InvokeFunc(func() { conn, err = net.DialTimeout("tcp", "192.0.2.1:8099", 10*time.Second) }), err); err != nil {
		t.Errorf("the port of the host: %v", err)
	} else {
		conn.Close()
	}
	if x, err := n.Interface(t.Context(), "eth0"); err != nil || x.MTU != 1400 {
		t.Errorf("tuning: %+v, %v", x, err)
	}
	shaped := func() string {
		out, err := exec.Command("tc", "qdisc", "show").CombinedOutput()
		if err != nil {
			t.Fatalf("tc: %v: %s", err, out)
		}
		return string(out)
	}
	if !strings.Contains(shaped(), "tbf") {
		t.Errorf("bandwidth: %s", shaped())
	}
	c.must("osl-cni", "CHECK", "id1", ns, withResult(file, out))
	for i := range chain {
		x := chain[len(chain)-1-i]
		c.must(x[0], "DEL", "id1", ns, withResult(x[1], out))
	}
	c.must("osl-cni", "DEL", "id1", ns, withResult(file, out))
	for _, name := range []string{"cni9", "up0"} {
		if err := host.RemoveLink(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	rules, err := exec.Command("iptables-save").CombinedOutput()
	if err != nil || strings.Contains(string(rules), "10.82.0.9") {
		t.Errorf("iptables has still, %v:\n%s", err, rules)
	}
	if left := fmt.Sprint(c.left(), masqueraded(t)); left != "[] []" {
		t.Errorf("left: %s", left)
	}
}
