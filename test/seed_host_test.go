//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

// A bridge is made on the host under its source name, takes ports, and goes when the host
// sandbox is destroyed, with all else that was made there. What is a network's, or has a
// note of the program that looks after it, stays.
func TestHostSandboxMakesBridges(t *testing.T) {
	w := begin(t)
	src, _ := w.vethUp()
	settles(t, hostNet("ha", "10.130", nil))
	defer func() { _, err := osl.Down(t.Context(), hostNet("ha", "10.130", nil)); must(t, err) }()
	sb, err := osl.NewSandbox(osl.HostName, false, false)
	must(t, err)
	noted := osl.InterfaceSpec{Name: name("n"), Type: "bridge", Note: "somebody's"}
	must(t, sb.(*osl.Namespace).AddLink(t.Context(), noted))
	w.made = append(w.made, noted.Name)
	before := snapshot(t, "")
	o, br, made := sb.InterfaceOptions(), name("b"), name("m")
	must(t, sb.AddInterface(br, "br", o.Bridge(true), addresses("10.2.0.1/24", "fd02::1/64")))
	must(t, sb.AddInterface(src, "eth", o.Master(br)))
	must(t, sb.(*osl.Namespace).AddLink(t.Context(), osl.InterfaceSpec{Name: made, Type: "bridge"}))
	if b, p := iface(t, sb, br), iface(t, sb, src); b.DstName() != br || !b.Bridge() || p.Master() != br {
		t.Errorf("there is %s, bridge %v, and its port has the master %q", b.DstName(), b.Bridge(), p.Master())
	}
	if err := sb.AddInterface(br, "br", o.Bridge(true)); !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("a second one of that name: %v", err)
	}
	again, err := osl.NewSandbox(osl.HostName, false, true)
	must(t, err)
	must(t, iface(t, again, made).Remove())
	if linkOf(t, "", made) != nil || linkOf(t, "", br) == nil {
		t.Error("Remove of a bridge of the host took another one, or none")
	}
	must(t, again.Destroy())
	same(t, "the host", before, func() []string { return snapshot(t, "") })
}

// Two programs pin the host's namespace: the one that ends leaves what the other has there.
func TestHostSandboxOfTwoPrograms(t *testing.T) {
	w := begin(t)
	src, _ := w.vethUp()
	one, err := osl.NewSandbox(newKey(), false, false)
	must(t, err)
	must(t, one.AddInterface(src, "eth", addresses("10.2.0.2/24", "fd02::2/64")))
	for _, key := range []string{newKey(), osl.HostName} {
		two, err := osl.NewSandbox(key, false, false)
		must(t, err)
		must(t, two.Destroy())
		if got := addrsOf(t, "", src); !slices.Contains(got, "10.2.0.2/24") || !slices.Contains(got, "fd02::2/64") {
			t.Errorf("after the end of %s the other's interface has %v", key, got)
		}
	}
	must(t, one.Destroy())
}

// The IPv6 of the host's own links is the host's, also where osl gives one no address of it.
func TestHostSandboxLeavesIPv6(t *testing.T) {
	w := begin(t)
	src, _ := w.vethUp()
	w.up(src)
	local := func() bool {
		return slices.ContainsFunc(addrsOf(t, "", src), func(a string) bool { return strings.HasPrefix(a, "fe80:") })
	}
	for end := time.Now().Add(30 * time.Second); !local() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	sb, err := osl.NewSandbox(newKey(), false, false)
	must(t, err)
	must(t, sb.AddInterface(src, "eth", addresses("10.2.0.2/24")))
	if !local() || sysctl(t, "", "ipv6/conf/"+src+"/disable_ipv6") != "0" {
		t.Errorf("a link of the host has lost its IPv6: %v", addrsOf(t, "", src))
	}
	must(t, sb.Destroy())
	if !local() {
		t.Errorf("a link of the host has lost its IPv6 with the sandbox: %v", addrsOf(t, "", src))
	}
}

// A process that dies as it gives the key of the host up is in nobody's way: the next one
// finishes that, and has a sandbox.
func TestHostSandboxAfterKills(t *testing.T) {
	begin(t)
	key := newKey()
	for i := range 30 {
		c := child("hostLoop", key, "killed0")
		must(t, c.Start())
		time.Sleep(time.Duration(20+i*3) * time.Millisecond)
		_ = c.Process.Kill()
		_ = c.Wait()
		sb, err := osl.NewSandbox(key, false, false)
		must(t, err)
		must(t, sb.AddInterface("after0", "br", sb.InterfaceOptions().Bridge(true)))
		must(t, sb.Destroy())
		if linkOf(t, "", "after0") != nil || linkOf(t, "", "killed0") != nil {
			t.Fatal("a bridge is left on the host")
		}
	}
}

func hostLoop(args []string) int {
	for {
		sb, err := osl.NewSandbox(args[0], false, false)
		if err == nil {
			err = sb.AddInterface(args[1], "br", sb.InterfaceOptions().Bridge(true))
		}
		if err == nil {
			err = sb.Destroy()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// The end of a key of the host takes what was asked for by that key, whoever else has the
// host, by a key or by none.
func TestHostSandboxEndsWithItsOwn(t *testing.T) {
	w := begin(t)
	var srcs []string
	for range 3 {
		src, _ := w.vethUp()
		srcs = append(srcs, src)
	}
	before := snapshot(t, "")
	keys, made := []string{osl.HostName, newKey(), newKey()}, []string{name("b"), name("b"), name("b")}
	var sbs []osl.Sandbox
	address := func(i int) string { return fmt.Sprintf("10.%d.0.2/24", i+2) }
	stands := func(i int, is bool) {
		t.Helper()
		if got := slices.Contains(addrsOf(t, "", srcs[i]), address(i)); (linkOf(t, "", made[i]) != nil) != is || got != is {
			t.Errorf("of %s there is a bridge: %v, an address: %v", keys[i], linkOf(t, "", made[i]) != nil, got)
		}
	}
	for i, key := range keys {
		sb, err := osl.NewSandbox(key, false, false)
		must(t, err)
		sbs = append(sbs, sb)
		must(t, sb.AddInterface(made[i], "br", sb.InterfaceOptions().Bridge(true)))
		must(t, sb.AddInterface(srcs[i], "eth", addresses(address(i))))
	}
	again, err := osl.NewSandbox(keys[1], false, true)
	must(t, err)
	must(t, again.Destroy())
	stands(0, true)
	stands(1, false)
	stands(2, true)
	must(t, sbs[2].Destroy())
	stands(0, true)
	stands(2, false)
	must(t, sbs[0].Destroy())
	same(t, "the host", before, func() []string { return snapshot(t, "") })
}
