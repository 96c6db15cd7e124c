package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/testnet"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// keyOf is a key that is the same each time.
func keyOf(n byte) osl.SecretKey { return osl.NewSecretKey([32]byte{8 * n, 1, 2, 3, 31: 64}) }

// wgForm is what a wireguard link of the tests is.
type wgForm struct {
	key, psk   byte
	port, mark int
	name       string
	peers      []osl.WireGuardPeerSpec
	at         int // the sandbox that it is in
}

func wgPeer(key byte, end string, alive int, ips ...string) osl.WireGuardPeerSpec {
	p := osl.WireGuardPeerSpec{PublicKey: keyOf(key).Public(), PersistentKeepalive: alive, AllowedIPs: v4(ips...)}
	if end != "" {
		p.Endpoint = netip.MustParseAddrPort(end)
	}
	return p
}

// wgLab is a sandbox with a wireguard link, and another one that takes part in the change.
func wgLab(f wgForm) osl.Network {
	if f.psk != 0 {
		f.peers[0].PresharedKey = keyOf(f.psk)
	}
	net := osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{
			{Name: "u", Type: "veth", MAC: osl.MAC(hw(60)), Addresses: v4("192.0.2.1/24"), Peer: osl.Endpoint{Sandbox: "b", Interface: "u"}}}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "u", MAC: osl.MAC(hw(61)), Addresses: v4("192.0.2.2/24")}}},
	}}
	at := &net.Sandboxes[f.at]
	at.Interfaces = append(at.Interfaces, osl.InterfaceSpec{
		Name: f.name, Type: "wireguard", Addresses: append(v4("10.30.0.1/24"), netip.MustParsePrefix("2001:db8:30::1/64")), Routes: v4("172.23.0.0/16"),
		WireGuard: &osl.WireGuardSpec{PrivateKey: keyOf(f.key), ListenPort: f.port, FwMark: uint32(f.mark), Peers: f.peers}})
	return net
}

// wireGuardOps are changes of wireguard links.
func wireGuardOps() []faultOp {
	ctx := context.Background()
	apply := func(f wgForm) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(ctx, wgLab(f)); return err }
	}
	standing := func(f wgForm) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(f)(w)) } }
	peers := func(p ...osl.WireGuardPeerSpec) []osl.WireGuardPeerSpec { return p }
	first := func() wgForm {
		return wgForm{key: 1, psk: 20, port: 51820, mark: 5, name: "wg0", peers: peers(
			wgPeer(2, "192.0.2.2:51820", 0, "10.30.0.2/32", "172.23.0.0/16"), wgPeer(3, "", 25, "10.30.0.3/32"), wgPeer(4, "192.0.2.9:9", 0, "10.30.0.4/32"))}
	}
	second := func() wgForm { // in place: all but secrets
		return wgForm{key: 1, psk: 20, port: 51821, mark: 0, name: "wg0", peers: peers(
			wgPeer(2, "[2001:db8::2]:51820", 9, "10.30.0.2/32"), wgPeer(3, "192.0.2.7:7", 0, "10.30.0.3/32", "172.23.0.0/16"), wgPeer(5, "", 0, "10.30.0.4/32"))}
	}
	other := func(f wgForm, change func(f *wgForm)) wgForm { change(&f); return f }
	return []faultOp{
		{name: "wireguard: a fresh network", do: apply(first())},
		{name: "wireguard: changed in place", before: standing(first()), do: apply(second())},
		{name: "wireguard: another private key", before: standing(first()), do: apply(other(first(), func(f *wgForm) { f.key = 9 }))},
		{name: "wireguard: another preshared key", before: standing(first()), do: apply(other(first(), func(f *wgForm) { f.psk = 21 }))},
		{name: "wireguard: another name", before: standing(first()), do: apply(other(second(), func(f *wgForm) { f.name, f.port = "wg1", 51820 }))},
		{name: "wireguard: in the other sandbox", before: standing(first()), do: apply(other(second(), func(f *wgForm) { f.at = 1 }))},
		{name: "wireguard: without peers", before: standing(first()), do: apply(other(first(), func(f *wgForm) { f.peers, f.psk = nil, 0 }))},
	}
}

// wireGuardHere skips where the kernel lacks it.
func wireGuardHere(t *testing.T, name string) {
	t.Helper()
	net := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "wg0", Type: "wireguard", WireGuard: &osl.WireGuardSpec{PrivateKey: keyOf(1)}}}}}}
	_, err := osl.Apply(t.Context(), net)
	if _, down := osl.Down(t.Context(), net); err == nil {
		err = down
	}
	testnet.Feature(t, name, err)
}

func TestFeatureWireGuardFaults(t *testing.T) {
	for _, op := range wireGuardOps() {
		t.Run(op.name, func(t *testing.T) {
			wireGuardHere(t, "faults of wireguard")
			driveFaults(t, op)
		})
	}
}

func TestFeatureWireGuardKills(t *testing.T) {
	for i, op := range wireGuardOps() {
		t.Run(op.name, func(t *testing.T) {
			wireGuardHere(t, "kills of wireguard")
			driveKills(t, op, i)
		})
	}
}

// A record of a dead process is carried out on a wireguard link. Where the namespace is of
// a user namespace below, who wrote it may have no rights where the link listens: the port
// and the mark are left.
func TestFeatureWireGuardRecord(t *testing.T) {
	wireGuardHere(t, "records of wireguard")
	w := world(t, "")
	below := exec.Command("sleep", "60")
	below.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	w.must(below.Start())
	defer below.Wait()
	defer below.Process.Kill()
	w.make("a") // and the directory of keys
	key, err := osl.KeyPath("b")
	w.must(err)
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", below.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	w.must(err)
	defer unix.Close(fd)
	w.must(netns.Pin(fd, key))
	for _, x := range []struct {
		sandbox string
		decides bool
	}{{"a", true}, {"b", false}} {
		w.ip("link", "add", "wg9", "index", "77", "type", "wireguard")
		w.ip("link", "set", "wg9", "netns", x.sandbox)
		n, err := osl.Open(t.Context(), x.sandbox)
		w.must(err)
		defer n.Close()
		port, mark, alive := uint16(777), uint32(7), uint16(9)
		names, _ := plan.Record{Role: plan.Undo, ID: "1", Steps: []plan.Step{{WireGuard: &rtnl.WGSet{Index: 77, ListenPort: &port, FwMark: &mark,
			Peers: []rtnl.WGPeerSet{{Public: wgkey.Public(keyOf(2).Public()), Keepalive: &alive}}}}}}.Names()
		w.must(connOf(t, n).One(t.Context(), rtnl.NewAltName(1, names...)))
		w.must(osl.Recover(t.Context(), n.Key()))
		st, err := n.Interface(t.Context(), "wg9")
		w.must(err)
		g := st.WireGuard
		if (g.ListenPort == 777) != x.decides || (g.FwMark == 7) != x.decides || len(g.Peers) != 1 || g.Peers[0].PersistentKeepalive != 9 {
			t.Errorf("%s: %+v", x.sandbox, g)
		}
	}
}
