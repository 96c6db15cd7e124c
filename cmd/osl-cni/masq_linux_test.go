//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/nftables"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

const masqFile = `{"cniVersion": "1.1.0", "name": "net5", "type": "osl", "mode": "bridge", "bridge": "cni9", "isDefaultGateway": true, "ipMasq": true,
	"ipam": {"type": "fake-ipam", "dir": "LEASES"}}`

// masqueraded tells what there is in the kernel, by a listing of its own.
func masqueraded(t *testing.T) (list []string) {
	t.Helper()
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"containers4", "containers6"} {
		elements, _ := nft.GetSetElements(&nftables.Set{Table: &nftables.Table{Name: "osl-cni", Family: nftables.TableFamilyINet}, Name: set})
		for _, e := range elements {
			ip, _ := netip.AddrFromSlice(e.Key)
			list = append(list, ip.String()+" of "+e.Comment)
		}
	}
	chains, err := nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		if strings.HasPrefix(c.Name, "from_") {
			list = append(list, c.Name)
		}
	}
	return list
}

// needMasq skips a test where the first use of ipMasq was refused by the kernel.
func needMasq(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "this kernel has no nftables") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sourceSeen is the address that a listener in one namespace sees of a sender in
// another.
func sourceSeen(t *testing.T, from, to *osl.Namespace, address string) (seen netip.Addr) {
	t.Helper()
	var server net.PacketConn
	var client net.Conn
	err := errors.Join(to.InvokeFunc(func() { server, _ = net.ListenPacket("udp", address) }),
		from.InvokeFunc(func() { client, _ = net.Dial("udp", address) }))
	if err != nil || server == nil || client == nil {
		t.Fatalf("%v, listening %v, sending %v", err, server, client)
	}
	defer server.Close()
	defer client.Close()
	for range 50 { // while the neighbours find each other
		_, _ = client.Write([]byte("x"))
		_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, who, err := server.ReadFrom(make([]byte, 9)); err == nil {
			return who.(*net.UDPAddr).AddrPort().Addr().Unmap()
		}
	}
	t.Fatalf("nothing comes to %s", address)
	return
}

// What a container sends out has the host's address, of both families, and what it
// sends to its own subnet has not. DEL, GC, and a failed ADD leave nothing of it.
func TestMasquerade(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	open := func(key string) *osl.Namespace {
		n, err := osl.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	host, err := openHost()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range []string{"cni9", "up0"} {
			if err := host.RemoveLink(context.Background(), name); err != nil && !gone(err) {
				t.Error(err)
			}
		}
		host.Close()
	})
	p := netip.MustParsePrefix
	far := c.sandbox("far")
	if err := host.AddLink(t.Context(), osl.InterfaceSpec{Name: "up0", Type: "veth", Peer: osl.Endpoint{Sandbox: far, Interface: "e"},
		Aliases: []netip.Prefix{p("192.0.2.1/24"), p("2001:db8:2::1/64")}}); err != nil {
		t.Fatal(err)
	}
	if err := osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: far, Interfaces: []osl.InterfaceSpec{{Name: "e",
		Addresses: []netip.Prefix{p("192.0.2.2/24"), p("2001:db8:2::2/64")}}}}}}); err != nil {
		t.Fatal(err)
	}
	static := `"ipam": {"type": "static", "addresses": [{"address": "10.79.0.%d/16", "gateway": "10.79.0.1"}, {"address": "fd79::%[1]d/64", "gateway": "fd79::1"}],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}`
	for _, kind := range []string{`"mode": "bridge", "bridge": "cni9", "isGateway": true`, `"mode": "ptp", "ipMasqBackend": "iptables"`} {
		file := func(i int) string {
			return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "net5", "type": "osl", "ipMasq": true, `+kind+`, `+static, i)
		}
		out, err := c.call("osl-cni", "ADD", "id1", ns, file(9))
		needMasq(t, err)
		withOut := withResult(file(9), out)
		c.must("osl-cni", "CHECK", "id1", ns, withOut)
		ns2 := c.sandbox("c2")
		c.must("osl-cni", "ADD", "id2", ns2, file(10))
		n := open(ns)
		for to, want := range map[string]string{"192.0.2.2:77": "192.0.2.1", "[2001:db8:2::2]:77": "2001:db8:2::1"} {
			if got := sourceSeen(t, n, open(far), to); got.String() != want {
				t.Errorf("%s sees %v", to, got)
			}
		}
		for to, want := range map[string]string{"10.79.0.10:77": "10.79.0.9", "[fd79::10]:77": "fd79::9"} {
			if got := sourceSeen(t, n, open(ns2), to); got.String() != want {
				t.Errorf("%s sees %v", to, got)
			}
		}
		c.must("osl-cni", "DEL", "id2", ns2, file(10))
		if err := osl.Remove(t.Context(), "c2"); err != nil {
			t.Fatal(err)
		}
		want := "10.79.0.9 of cni net5 id1 eth0, fd79::9 of cni net5 id1 eth0, from_10.79.0.0-16, from_fd79..-64"
		if got := strings.Join(masqueraded(t), ", "); got != want {
			t.Errorf("there is %s", got)
		}
		// Another has the address: it stays masqueraded when the first one goes.
		other := &conf{}
		other.Name = "other"
		if err := other.setMasq([]netip.Prefix{p("10.79.0.9/24"), p("fd79::9/64")}, "cni other x eth0"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.call("osl-cni", "CHECK", "id1", ns, withOut); err == nil {
			t.Error("CHECK does not miss what is masqueraded")
		}
		c.must("osl-cni", "DEL", "id1", ns, withOut)
		if got := strings.Join(masqueraded(t), ", "); !strings.Contains(got, "10.79.0.9 of cni other x eth0, fd79::9 of cni other x eth0") {
			t.Errorf("there is %s", got)
		}
		if err := unmasq(func(owner string) bool { return owner == "cni other x eth0" }); err != nil {
			t.Fatal(err)
		}
		// GC, and DEL of a namespace that is not known.
		c.must("osl-cni", "ADD", "id1", ns, file(9))
		c.must("osl-cni", "GC", "", "", file(9))
		if got := masqueraded(t); len(got) > 0 {
			t.Errorf("left by GC: %v", got)
		}
		c.must("osl-cni", "ADD", "id1", ns, file(9))
		if _, err := c.call("osl-cni", "ADD", "id1", ns, file(9)); err == nil {
			t.Error("a second ADD succeeds")
		}
		if got := masqueraded(t); len(got) != 4 {
			t.Errorf("after a second ADD: %v", got)
		}
		c.must("osl-cni", "DEL", "id1", "", file(9))
		if got := masqueraded(t); len(got) > 0 {
			t.Errorf("left by DEL: %v", got)
		}
	}
	_, err = c.call("osl-cni", "ADD", "id1", ns, `{"cniVersion": "1.1.0", "name": "n", "type": "osl", "mode": "bridge", "ipMasq": true, "ipMasqBackend": "pf"}`)
	if e := (*types.Error)(nil); !errors.As(err, &e) || e.Code != types.ErrInvalidNetworkConfig {
		t.Error(err)
	}
}

// Many at once, and killed ones: what is left in the end is nothing.
func TestMasqueradeAtOnce(t *testing.T) {
	c := newCNI(t)
	const count = 9
	var keys [count]string
	for i := range keys {
		keys[i] = c.sandbox(fmt.Sprintf("c%d", i))
	}
	_, err := c.call("osl-cni", "ADD", "id0", keys[0], masqFile)
	needMasq(t, err)
	c.must("osl-cni", "DEL", "id0", keys[0], masqFile)
	for round := range 3 {
		var wg sync.WaitGroup
		for i, ns := range keys {
			wg.Go(func() {
				id := fmt.Sprintf("id%d", i)
				cmd := c.command("osl-cni", "ADD", id, ns, masqFile)
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				if round > 0 && i%3 == 0 {
					time.Sleep(time.Duration(i*7) * time.Millisecond)
					_ = cmd.Process.Kill()
				}
				if err := cmd.Wait(); err != nil && (round == 0 || i%3 != 0) {
					t.Errorf("ADD: %v", err)
				}
				if round == 2 {
					return
				}
				if _, err := c.call("osl-cni", "DEL", id, ns, masqFile); err != nil {
					t.Errorf("DEL: %v", err)
				}
			})
		}
		wg.Wait()
		if round == 2 {
			c.must("osl-cni", "GC", "", "", masqFile)
			for i, ns := range keys {
				c.must("osl-cni", "DEL", fmt.Sprintf("id%d", i), ns, masqFile)
			}
		}
		if left := append(c.left("cni9"), masqueraded(t)...); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	}
	removeBridge(t)
}

// A DEL that is killed at any moment leaves nothing when another has run: no chain of a
// subnet either, by which that one would find nothing.
func TestMasqueradeDelKilled(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	_, err := c.call("osl-cni", "ADD", "id1", ns, masqFile)
	needMasq(t, err)
	began := time.Now()
	c.must("osl-cni", "DEL", "id1", ns, masqFile)
	takes := time.Since(began) * 5 / 4
	for i := range testnet.Rounds(t, 150, 20*time.Second) {
		c.must("osl-cni", "ADD", "id1", ns, masqFile)
		cmd := c.command("osl-cni", "DEL", "id1", ns, masqFile)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(takes))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c.must("osl-cni", "DEL", "id1", ns, masqFile)
		if left := append(c.left("cni9"), masqueraded(t)...); len(left) > 0 {
			t.Fatalf("kill %d left: %v", i, left)
		}
	}
	removeBridge(t)
}
