//go:build linux

package osltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// witness opens the other library's handle in the namespace of a key; "" is
// the host. It is closed before with returns, since it would keep a destroyed
// namespace alive.
func witness(t *testing.T, key string, with func(h *netlink.Handle)) {
	t.Helper()
	if key == "" {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		must(t, err)
		defer h.Close()
		with(h)
		return
	}
	ns, err := netns.GetFromPath(key)
	if err != nil {
		t.Fatalf("the witness can't open %s: %v", key, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, err)
	defer h.Close()
	with(h)
}

// dump repeats a listing that the kernel says was interrupted.
func dump[T any](t *testing.T, list func() ([]T, error)) []T {
	t.Helper()
	for try := 0; ; try++ {
		out, err := list()
		if errors.Is(err, netlink.ErrDumpInterrupted) && try < 20 {
			continue
		}
		must(t, err)
		return out
	}
}

func links(t *testing.T, key string) (out []netlink.Link) {
	t.Helper()
	witness(t, key, func(h *netlink.Handle) { out = dump(t, h.LinkList) })
	return out
}

// linkOf returns the link with just this name, not with it as an alternative
// one; nil if there is none.
func linkOf(t *testing.T, key, name string) netlink.Link {
	t.Helper()
	for _, l := range links(t, key) {
		if l.Attrs().Name == name {
			return l
		}
	}
	return nil
}

// needLink is linkOf for one that must be there.
func needLink(t *testing.T, key, name string) netlink.Link {
	t.Helper()
	l := linkOf(t, key, name)
	if l == nil {
		t.Fatalf("no link %s in %q: %v", name, key, linkNames(t, key))
	}
	return l
}

// rename gives a link another name by hand. Before Linux 6.2 it must be down
// for that.
func rename(t *testing.T, h *netlink.Handle, l netlink.Link, name string) {
	t.Helper()
	must(t, h.LinkSetDown(l))
	must(t, h.LinkSetName(l, name))
	must(t, h.LinkSetUp(l))
}

func linkNames(t *testing.T, key string) (out []string) {
	t.Helper()
	for _, l := range links(t, key) {
		out = append(out, l.Attrs().Name)
	}
	return out
}

// addrsOf returns the addresses of a link as text, in order of their text.
func addrsOf(t *testing.T, key, name string) (out []string) {
	t.Helper()
	l := needLink(t, key, name)
	witness(t, key, func(h *netlink.Handle) {
		for _, a := range dump(t, func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) }) {
			out = append(out, a.IPNet.String())
		}
	})
	sort.Strings(out)
	return out
}

// ipv6Of returns the IPv6 addresses of a link.
func ipv6Of(t *testing.T, key, name string) (out []string) {
	t.Helper()
	for _, a := range addrsOf(t, key, name) {
		if strings.Contains(a, ":") {
			out = append(out, a)
		}
	}
	return out
}

// routesOf returns the main table as text, such as
// "10.0.0.0/8 via 10.1.0.1 dev eth0" and "default dev eth0".
func routesOf(t *testing.T, key string) (out []string) {
	t.Helper()
	names := map[int]string{}
	for _, l := range links(t, key) {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	witness(t, key, func(h *netlink.Handle) {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			main := &netlink.Route{Table: unix.RT_TABLE_MAIN}
			for _, r := range dump(t, func() ([]netlink.Route, error) {
				return h.RouteListFiltered(family, main, netlink.RT_FILTER_TABLE)
			}) {
				dst := "default"
				if r.Dst != nil {
					if ones, _ := r.Dst.Mask.Size(); ones > 0 {
						dst = r.Dst.String()
					} else if family == netlink.FAMILY_V6 {
						dst = "default6"
					}
				} else if family == netlink.FAMILY_V6 {
					dst = "default6"
				}
				if r.Gw != nil {
					dst += " via " + r.Gw.String()
				}
				out = append(out, dst+" dev "+names[r.LinkIndex])
			}
		}
	})
	sort.Strings(out)
	return out
}

func hasRoute(t *testing.T, key, route string) bool {
	t.Helper()
	return slices.Contains(routesOf(t, key), route)
}

// neighborsOf returns the permanent entries as text.
func neighborsOf(t *testing.T, key, link string, family int) (out []string) {
	t.Helper()
	index := needLink(t, key, link).Attrs().Index
	witness(t, key, func(h *netlink.Handle) {
		for _, n := range dump(t, func() ([]netlink.Neigh, error) { return h.NeighList(index, family) }) {
			if n.State&netlink.NUD_PERMANENT == 0 || n.LinkIndex != index {
				continue
			}
			if family == unix.AF_BRIDGE && n.IP == nil {
				continue // the link's own address, and what its bridge knows
			}
			out = append(out, fmt.Sprintf("%v %v", n.IP, n.HardwareAddr))
		}
	})
	sort.Strings(out)
	return out
}

// snapshot is what another program sees of a network: links, addresses,
// routes, neighbours. Indexes are left out, a link that comes home may get a
// new one.
func snapshot(t *testing.T, key string) (out []string) {
	t.Helper()
	names := map[int]string{0: ""}
	all := links(t, key)
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range all {
		a := l.Attrs()
		slices.Sort(a.AltNames)
		hw := a.HardwareAddr.String()
		if l.Type() == "bridge" {
			hw = "its own" // follows the ports unless it was set
		}
		out = append(out, fmt.Sprintf("link %s %s mac=%s mtu=%d txqlen=%d alias=%q altnames=%v up=%v master=%q", a.Name, l.Type(), hw,
			a.MTU, a.TxQLen, a.Alias, a.AltNames, a.Flags&net.FlagUp != 0, names[a.MasterIndex]))
		if l.Type() == "wireguard" {
			for _, line := range wgLines(wgDevice(t, key, a.Name)) {
				out = append(out, a.Name+" "+line)
			}
		}
		for _, x := range addrsOf(t, key, a.Name) {
			if strings.HasPrefix(x, "fe80:") {
				continue // the kernel's own, which it gives a link whenever it likes
			}
			out = append(out, "address "+a.Name+" "+x)
		}
		for _, f := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
			for _, x := range neighborsOf(t, key, a.Name, f) {
				out = append(out, "neighbor "+a.Name+" "+x)
			}
		}
	}
	for _, r := range everyRoute(t, key, names) {
		if !strings.HasPrefix(r, "fe80:") {
			out = append(out, "route "+r)
		}
	}
	sort.Strings(out)
	return out
}

// same waits until now returns what before was; the kernel gives an interface
// its link-local address, and frees a namespace, a little later.
func same(t *testing.T, what string, before []string, now func() []string) {
	t.Helper()
	var after []string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		if after = now(); slices.Equal(before, after) {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	t.Errorf("%s is not as before (%d entries, %d now):\n%s", what, len(before), len(after), diff(before, after))
}

func diff(before, after []string) string {
	var b strings.Builder
	for _, l := range before {
		if !slices.Contains(after, l) {
			fmt.Fprintln(&b, "  -", l)
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			fmt.Fprintln(&b, "  +", l)
		}
	}
	return b.String()
}

// mountsAndKeys lists the mount points, and the files below /run beside the
// lock that osl may keep there.
func mountsAndKeys(t *testing.T) (out []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 4 {
			out = append(out, "mount "+f[4])
		}
	}
	_ = filepath.WalkDir("/run", func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(p, ".lock") {
			out = append(out, "file "+p)
		}
		return nil
	})
	sort.Strings(out)
	return out
}

// inode is the identity of the namespace at a path.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st.Ino
}

// inside runs f in the namespace of a key without osl; "" is the host.
func inside(t *testing.T, key string, f func() error) {
	t.Helper()
	if key == "" {
		must(t, f())
		return
	}
	must(t, ownThread(func() error {
		fd, err := unix.Open(key, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns %s: %w", key, err)
		}
		return f()
	}))
}

// sysctl reads one below /proc/sys/net, "-" where the kernel has none.
func sysctl(t *testing.T, key, path string) (value string) {
	t.Helper()
	inside(t, key, func() error {
		b, err := os.ReadFile("/proc/sys/net/" + path)
		value = strings.TrimSpace(string(b))
		if errors.Is(err, os.ErrNotExist) {
			value, err = "-", nil
		}
		return err
	})
	return value
}

// ipCommand runs the ip command; without it there is nothing to be compatible with.
func ipCommand(t *testing.T, args ...string) string {
	t.Helper()
	testnet.NeedProgram(t, "ip", "iproute2")
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ipJSON is ipCommand with -json.
func ipJSON(t *testing.T, args ...string) (out []map[string]any) {
	t.Helper()
	text := ipCommand(t, append([]string{"-json"}, args...)...)
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("ip %v: %v in %s", args, err, text)
	}
	return out
}

// delAddr takes an address away by hand.
func delAddr(t *testing.T, key, link, addr string) {
	t.Helper()
	l := needLink(t, key, link)
	witness(t, key, func(h *netlink.Handle) { must(t, h.AddrDel(l, &netlink.Addr{IPNet: ipnet(addr)})) })
}
