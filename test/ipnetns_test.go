//go:build linux

package osltest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// ipBase sets the base path that the ip command uses.
func ipBase(t *testing.T) {
	t.Helper()
	ipCommand(t, "-V")
	was := osl.BasePath()
	osl.SetBasePath("/run")
	t.Cleanup(func() { osl.SetBasePath(was) })
}

func ipNetnsNames(t *testing.T) (out []string) {
	t.Helper()
	for _, ns := range ipJSON(t, "netns", "list") {
		out = append(out, ns["name"].(string))
	}
	slices.Sort(out)
	return out
}

func TestIPNetnsSeesSandboxes(t *testing.T) {
	w := begin(t)
	ipBase(t)
	a, b := w.sandboxAt("/run/netns/osl-a"), w.sandboxAt("/run/netns/osl-b")
	// Every name there is a sandbox: no lock, no file of another kind.
	if got := ipNetnsNames(t); !slices.Equal(got, []string{"osl-a", "osl-b"}) {
		t.Errorf("ip netns list: %v", got)
	}
	src, _ := w.vethUp()
	w.add(a, src, "eth", addresses("10.91.0.2/24", "fd91::2/64"))
	must(t, a.SetGateway(ip("10.91.0.1")))
	found := map[string]bool{}
	for _, l := range ipJSON(t, "-n", "osl-a", "address") {
		found[l["ifname"].(string)] = true
		for _, x := range l["addr_info"].([]any) {
			found[x.(map[string]any)["local"].(string)] = true
		}
	}
	for _, want := range []string{"lo", "eth0", "10.91.0.2", "fd91::2", "127.0.0.1"} {
		if !found[want] {
			t.Errorf("ip -n osl-a address does not show %s: %v", want, found)
		}
	}
	if found["::1"] != (len(ipv6Of(t, a.Key(), "lo")) > 0) {
		t.Errorf("ip and netlink differ about ::1")
	}
	routes := ipJSON(t, "-n", "osl-a", "route", "show", "default")
	if len(routes) != 1 || routes[0]["gateway"] != "10.91.0.1" || routes[0]["dev"] != "eth0" {
		t.Errorf("ip route shows %v", routes)
	}
	// What ip does in there, osl sees.
	ipCommand(t, "-n", "osl-a", "address", "add", "10.92.0.2/24", "dev", "eth0")
	n, err := osl.Open(context.Background(), "osl-a")
	must(t, err)
	defer n.Close()
	if s := status(t, n); !strings.Contains(s, "10.92.0.2/24") {
		t.Errorf("Inspect does not show the address that ip added:\n%s", s)
	}
	// ip netns del destroys b; osl's handle acts on nothing any more.
	ipCommand(t, "netns", "del", "osl-b")
	if got := ipNetnsNames(t); !slices.Equal(got, []string{"osl-a"}) {
		t.Errorf("ip netns list: %v", got)
	}
	other, _ := w.veth()
	refused(t, "AddInterface after ip netns del", b.AddInterface(other, "eth"), osl.ErrClosed, other)
	if linkOf(t, "", other) == nil {
		t.Error("the link left the host")
	}
	must(t, b.Destroy())
}

// TestIPNetnsDeletesSandboxes: what osl made before the first use of ip netns, that deletes.
// With the directory it would mount each key a second time.
func TestIPNetnsDeletesSandboxes(t *testing.T) {
	begin(t)
	ipBase(t)
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")) // as after boot
	t.Cleanup(func() { must(t, unix.Unmount("/run", unix.MNT_DETACH)) })
	osls := func(args ...string) (string, error) {
		out, err := child("osl", args...).CombinedOutput()
		return string(out), err
	}
	for _, name := range []string{"one", "two"} {
		if out, err := osls("create", name); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	ipCommand(t, "netns", "add", "other")
	for _, name := range []string{"one", "other", "two"} {
		ipCommand(t, "netns", "del", name)
	}
	if got := ipNetnsNames(t); len(got) > 0 {
		t.Errorf("ip netns list: %v", got)
	}
}

func TestOslOpensWhatIPNetnsMade(t *testing.T) {
	w := begin(t)
	ipBase(t)
	ctx := context.Background()
	ipCommand(t, "netns", "add", "lab")
	defer func() { _ = os.Remove("/run/netns/lab") }()
	ipCommand(t, "-n", "lab", "link", "add", "veth7", "type", "veth", "peer", "name", "veth8")
	ipCommand(t, "-n", "lab", "address", "add", "10.93.0.1/24", "dev", "veth7")
	n, err := osl.Open(ctx, "lab")
	must(t, err)
	s, err := n.Inspect(ctx)
	must(t, err)
	if s.Made || s.Name != "lab" || s.Key != "/run/netns/lab" || len(s.Interfaces) != 2 || s.Interfaces[0].Origin != "" {
		t.Errorf("Inspect says %+v", s)
	}
	if text := status(t, n); !strings.Contains(text, "10.93.0.1/24") {
		t.Errorf("Inspect lacks the address:\n%s", text)
	}
	if len(n.Info().Interfaces()) != 0 {
		t.Errorf("Info has links that osl did not add:\n%s", infoText(n.Info()))
	}
	entries, err := osl.List(ctx)
	must(t, err)
	if len(entries) != 1 || entries[0].Name != "lab" || entries[0].Made || entries[0].Interfaces != 2 || entries[0].Problem != "" {
		t.Errorf("List says %+v", entries)
	}
	must(t, n.Close())

	before := snapshot(t, "")
	src, _ := w.veth()
	sb, err := osl.NewSandbox("/run/netns/lab", false, true)
	must(t, err)
	if dst := w.add(sb, src, "veth", addresses("10.94.0.2/24")); dst != "veth0" {
		t.Errorf("the name is %s", dst)
	}
	// An interface with IPv4 only has no IPv6 in a namespace of someone else
	// either; what osl did not add keeps what it had.
	if got := ipv6Of(t, "/run/netns/lab", "veth0"); len(got) > 0 {
		t.Errorf("veth0 has %v", got)
	}
	must(t, sb.Destroy())
	if got := ipNetnsNames(t); !slices.Equal(got, []string{"lab"}) {
		t.Errorf("ip netns list after Destroy: %v", got)
	}
	needLink(t, "", src)
	needLink(t, "/run/netns/lab", "veth7")
	if linkOf(t, "/run/netns/lab", "veth0") != nil {
		t.Error("Destroy left in it what osl had put in")
	}
	must(t, osl.Remove(ctx, "lab", osl.WithForce()))
	for _, n := range []string{"veth7", "veth8"} {
		if linkOf(t, "", n) != nil {
			t.Errorf("%s never was the host's and is there", n)
		}
	}
	must(t, netlink.LinkDel(needLink(t, "", src)))
	same(t, "the host", before, func() []string { return snapshot(t, "") })
}

func TestGCLeavesIPNetnsAlone(t *testing.T) {
	w := begin(t)
	ipBase(t)
	w.sandboxAt("/run/netns/osl-c")
	ipCommand(t, "netns", "add", "lab2")
	osl.GC()
	if got := ipNetnsNames(t); !slices.Equal(got, []string{"lab2", "osl-c"}) {
		t.Errorf("ip netns list: %v", got)
	}
	ipCommand(t, "netns", "del", "lab2")
}

// TestReq6FromAnotherMountNamespace: a sandbox is usable from a mount
// namespace that was made later.
func TestReq6FromAnotherMountNamespace(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	want := inode(t, sb.Key())
	must(t, ownThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return err
		}
		if got := inode(t, sb.Key()); got != want {
			t.Errorf("the key is %d there, want %d", got, want)
		}
		return nil
	}))
}
