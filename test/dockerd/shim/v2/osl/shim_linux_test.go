package osl

import (
	"net"
	"os/exec"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Main(m) }

// A link that was made in the sandbox is on the host by its first name when it has been
// removed.
func TestRemoveOfOneMadeInside(t *testing.T) {
	ctx := t.Context()
	SetBasePath(t.TempDir())
	n, err := NewSandbox(GenerateKey("inside000000"), true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Destroy()
	if out, err := exec.CommandContext(ctx, "nsenter", "--net="+n.Key(), "ip", "link", "add", "c0", "type", "veth", "peer", "name", "c1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := n.AddInterface(ctx, "c0", "eth", "", WithCreatedInContainer(true)); err != nil {
		t.Fatal(err)
	}
	i := n.InterfaceBySrcName("c0")
	if i == nil || i.DstName() != "eth0" {
		t.Fatalf("the interface is %+v", i)
	}
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(ctx, "ip", "link", "del", "c0").CombinedOutput(); err != nil {
		t.Errorf("the link is not on the host: %v: %s", err, out)
	}
}

// An interface is the default route when it is asked for, and no longer.
func TestDefaultRoute(t *testing.T) {
	ctx := t.Context()
	SetBasePath(t.TempDir())
	if out, err := exec.CommandContext(ctx, "ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "d0").Run() }) // what stays fails the package
	n, err := NewSandbox(GenerateKey("default0000"), true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Destroy()
	to := func(s string) *net.IPNet {
		ip, to, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		to.IP = ip
		return to
	}
	if err := n.AddInterface(ctx, "d0", "eth", "", WithIPv4Address(to("10.0.0.2/24")), WithIPv6Address(to("fd00::2/64")),
		WithRoutes([]*net.IPNet{to("0.0.0.0/0"), to("::/0"), to("192.0.2.0/24")}), WithAdvertiseAddrNMsgs(0)); err != nil {
		t.Fatal(err)
	}
	routes := func() (list []string) {
		for _, family := range []string{"-4", "-6"} {
			out, err := exec.CommandContext(ctx, "nsenter", "--net="+n.Key(), "ip", family, "route", "show", "default").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if len(out) > 0 {
				list = append(list, family)
			}
		}
		return list
	}
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return nil }, nil},
		{func() error { return n.SetDefaultRouteIPv4("d0") }, []string{"-4"}},
		{func() error { return n.SetDefaultRouteIPv6("d0") }, []string{"-4", "-6"}},
		{n.UnsetDefaultRouteIPv4, []string{"-6"}},
		{n.UnsetDefaultRouteIPv4, []string{"-6"}},
		{n.UnsetDefaultRouteIPv6, nil},
	} {
		if err := step.do(); err != nil {
			t.Error(err)
		}
		if got := routes(); !slices.Equal(got, step.want) {
			t.Errorf("default routes of %v, not of %v", got, step.want)
		}
	}
	if n.SetDefaultRouteIPv4("none") == nil {
		t.Error("of an interface that is not there: no error")
	}
}
