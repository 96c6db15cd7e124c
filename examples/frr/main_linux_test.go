package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Main(m) }

// begin starts a lab, and waits until its checks hold.
func begin(t *testing.T, file string) *lab {
	t.Helper()
	if !testnet.IsRoot() {
		t.Skip("FRR changes to a user of its own, which a user namespace does not have")
	}
	testnet.NeedProgram(t, filepath.Join(programs, "bgpd"), "frr")
	l, err := start(t.Context(), file)
	testnet.Feature(t, "example "+strings.TrimSuffix(file, ".yaml"), err)
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
	holds(t, l)
	return l
}

// holds waits until the checks hold.
func holds(t *testing.T, l *lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := l.converge(ctx); err != nil {
		t.Fatal(err)
	}
}

// asked returns what a command with -json says.
func asked[T any](t *testing.T, args ...string) (list []T) {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil && len(out) > 0 {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return list
}

// eventually waits for something that a router does in its own time.
func eventually(t *testing.T, want string, is func() string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		got := is()
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// hops are the devices and families of the next hops of a route of leaf1.
func hops(t *testing.T, to string) string {
	t.Helper()
	type hop struct {
		Dev string
		Via struct{ Family string }
	}
	var list []string
	for _, r := range asked[struct {
		hop
		Nexthops []hop
	}](t, "ip", "-json", "-n", "leaf1", "route", "show", to) {
		for _, h := range append(r.Nexthops, r.hop) {
			if h.Dev != "" {
				list = append(list, h.Dev+" "+h.Via.Family)
			}
		}
	}
	slices.Sort(list)
	return fmt.Sprint(list)
}

func unchanged(t *testing.T, l *lab) {
	t.Helper()
	if diff, err := osl.Diff(t.Context(), l.network); err != nil || len(diff) != 0 {
		t.Errorf("what the routers did is a difference: %v, %v", diff, err)
	}
	if changes, err := osl.Apply(t.Context(), l.network); err != nil || len(changes) != 0 {
		t.Errorf("a second Apply: %v, %v", changes, err)
	}
}

// Sessions over link-local addresses bring IPv4 routes by way of them, over both
// spines. When one path is cut the traffic goes on over the other.
func TestFeatureBGPUnnumbered(t *testing.T) {
	l := begin(t, "bgp.yaml")
	const lan2, both, one = "10.90.2.0/24", "[spine1 inet6 spine2 inet6]", "[spine2 inet6]"
	eventually(t, both, func() string { return hops(t, lan2) })
	unchanged(t, l)
	if out, err := exec.Command("ip", "-n", "leaf1", "link", "set", "spine1", "down").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	holds(t, l)
	eventually(t, one, func() string { return hops(t, lan2) })
	if changes, err := osl.Apply(t.Context(), l.network); err != nil || len(changes) != 1 {
		t.Errorf("Apply makes %v, %v, want the cut link up", changes, err)
	}
	holds(t, l)
	unchanged(t, l)
}

// Two VLANs, each a VXLAN between the leaves whose other end EVPN tells: where a hardware
// address is comes by BGP, as do the addresses to which everything else is sent.
func TestFeatureEVPN(t *testing.T) {
	l := begin(t, "evpn.yaml")
	type entry struct {
		Dst   string
		Flags []string
	}
	for _, dev := range []string{"vx10", "vx20"} {
		eventually(t, "all true, learned true", func() string {
			all, learned := false, false
			for _, e := range asked[entry](t, "bridge", "-json", "-n", "leaf1", "fdb", "show", "dev", dev) {
				all = all || e.Dst == "10.91.0.2" && !slices.Contains(e.Flags, "extern_learn")
				learned = learned || e.Dst == "10.91.0.2" && slices.Contains(e.Flags, "extern_learn")
			}
			return fmt.Sprintf("all %v, learned %v", all, learned)
		})
	}
	unchanged(t, l)
	holds(t, l)
}
