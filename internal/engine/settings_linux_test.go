package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"

	"golang.org/x/sys/unix"
)

// settle applies a network, and fails unless a second time has nothing to do.
func settle(t *testing.T, specs ...osl.Spec) {
	t.Helper()
	net := osl.Network{Sandboxes: specs}
	if _, err := osl.Apply(t.Context(), net); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = osl.Remove(context.Background(), specs[0].Name) })
	for range 2 {
		if c, err := osl.Apply(t.Context(), net); err != nil || len(c) > 0 {
			t.Fatalf("once more: %v\n%v", err, c)
		}
	}
}

func settingsAre(t *testing.T, name string, want map[string]string) {
	t.Helper()
	n, err := osl.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.InvokeFunc(func() {
		for path, v := range want {
			if have, err := sysctl.Read(path); err != nil || !sysctl.Same(v, have) {
				t.Errorf("%s is %q (%v), want %s", path, have, err, v)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func end(name string) osl.InterfaceSpec {
	return osl.InterfaceSpec{Name: name, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "set-" + name}}
}

// A setting holds as it was written, whatever else is asked for changes it.
func TestSettingsHoldTogether(t *testing.T) {
	e0, e1 := end("e0"), end("e1")
	e0.Sysctls = map[string]string{"ipv4.forwarding": "0"}
	e1.Sysctls = map[string]string{"ipv6.disable_ipv6": "0", "ipv6.mtu": "1300", "ipv6.accept_dad": "1"}
	both := []osl.InterfaceSpec{e0, e1}
	settle(t, osl.Spec{Name: "a", Interfaces: both, Sysctls: map[string]string{"ipv4.ip_forward": "true", "ipv4.conf.all.accept_redirects": "1",
		"ipv4.conf.default.forwarding": "0", "ipv4/ip_default_ttl": "0x20", "ipv4.ip_local_reserved_ports": "5,1,2,3",
		"ipv4.ip_unprivileged_port_start": "0", "ipv4.ip_local_port_range": "500 60000"}})
	settingsAre(t, "a", map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/accept_redirects": "1", "ipv4/conf/default/forwarding": "0",
		"ipv4/conf/e0/forwarding": "0", "ipv4/conf/lo/forwarding": "1", "ipv6/conf/e1/mtu": "1300", "ipv6/conf/e1/accept_dad": "1"})
	// What a change of one resets is written again, also where it held before.
	settle(t, osl.Spec{Name: "a", Interfaces: both, Sysctls: map[string]string{"ipv4.ip_forward": "0"}})
	settle(t, osl.Spec{Name: "a", Interfaces: both, Sysctls: map[string]string{"ipv4.ip_forward": "1", "ipv4.conf.all.accept_redirects": "1",
		"ipv4.conf.default.forwarding": "0", "ipv4.ip_unprivileged_port_start": "1024", "ipv4.ip_local_port_range": "2000 60000"}})
	settingsAre(t, "a", map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/accept_redirects": "1", "ipv4/conf/default/forwarding": "0",
		"ipv4/conf/e0/forwarding": "0", "ipv4/ip_unprivileged_port_start": "1024"})
}

// New links have what the sandbox's defaults say, from the first.
func TestDefaultsComeBeforeLinks(t *testing.T) {
	e := end("d0")
	e.Addresses = prefixes(1)
	settle(t, osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{e}, Sysctls: map[string]string{"ipv6.conf.default.use_tempaddr": "2",
		"ipv6.conf.default.hop_limit": "33", "ipv4.conf.default.rp_filter": "2"}})
	settingsAre(t, "a", map[string]string{"ipv6/conf/d0/use_tempaddr": "2", "ipv6/conf/d0/hop_limit": "33", "ipv4/conf/d0/rp_filter": "2"})
}

// IPv6 is as the settings ask for it, of the interface, else of all new ones,
// else of all.
func TestIPv6BySetting(t *testing.T) {
	on, off, plain, with := end("on"), end("off"), end("plain"), end("with")
	on.Sysctls = map[string]string{"ipv6.disable_ipv6": "0", "ipv6.accept_ra": "2"}
	off.Sysctls = map[string]string{"ipv6.disable_ipv6": "1"}
	with.Addresses = prefixes(1)
	for _, x := range []struct {
		sysctls map[string]string
		plain   string
		lo      string
	}{
		{nil, "1", "0"},
		{map[string]string{"ipv6.conf.default.disable_ipv6": "0", "ipv6.conf.lo.disable_ipv6": "1"}, "0", "1"},
		{map[string]string{"ipv6.conf.all.disable_ipv6": "0"}, "0", "0"},
		{nil, "1", "0"},
		{map[string]string{"ipv6.conf.plain.disable_ipv6": "0"}, "0", "0"},
	} {
		settle(t, osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{on, off, plain, with}, Sysctls: x.sysctls})
		settingsAre(t, "a", map[string]string{"ipv6/conf/on/disable_ipv6": "0", "ipv6/conf/off/disable_ipv6": "1", "ipv6/conf/with/disable_ipv6": "0",
			"ipv6/conf/plain/disable_ipv6": x.plain, "ipv6/conf/lo/disable_ipv6": x.lo, "ipv6/conf/on/accept_ra": "2"})
	}
	settle(t, osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{off, plain}, Sysctls: map[string]string{"ipv6.conf.all.disable_ipv6": "1"}})
	settingsAre(t, "a", map[string]string{"ipv6/conf/plain/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"})
}

// What no sandbox has is refused before anything is done, with the reason, also
// for a sandbox that is not there, and in a comparison.
func TestSettingsThatAreRefused(t *testing.T) {
	settle(t, osl.Spec{Name: "there"})
	six := prefixes(1)
	for _, x := range []struct {
		sandbox, link map[string]string
		says          string
	}{
		{map[string]string{"core.rmem_max": "8388608"}, nil, "machine"},
		{map[string]string{"ipv4.conf.all.mc_forwarding": "1"}, nil, "only be read"},
		{map[string]string{"ipv4.ip_forwad": "1"}, nil, `did you mean "ipv4.ip_forward"`},
		{map[string]string{"ipv4.rp_filter": "1"}, nil, "ipv4.conf.all.rp_filter"},
		{map[string]string{"ipv4.conf": "1"}, nil, "group of settings"},
		{map[string]string{"ipv4.ip_forward": "1", "net/ipv4/conf/all/forwarding": "0"}, nil, "same setting"},
		{map[string]string{"ipv6.conf.all.disable_ipv6": "1"}, nil, "IPv6 address"},
		{map[string]string{"ipv6.conf.default.disable_ipv6": "x"}, nil, "0 or 1"},
		{nil, map[string]string{"ipv4.ip_forward": "1"}, "one of the sandbox"},
		{nil, map[string]string{"ipv4.rp_fliter": "1"}, `did you mean "ipv4.rp_filter"`},
		{nil, map[string]string{"ipv6.disable_ipv6": "1"}, "IPv6 address"},
	} {
		for _, name := range []string{"there", "fresh"} {
			e := end("e0")
			e.Addresses, e.Sysctls = six, x.link
			net := osl.Network{Sandboxes: []osl.Spec{{Name: name, Sysctls: x.sandbox, Interfaces: []osl.InterfaceSpec{e}}}}
			for what, call := range map[string]func(context.Context, osl.Network) (osl.Changes, error){"Apply": osl.Apply, "Diff": osl.Diff} {
				if _, err := call(t.Context(), net); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), x.says) {
					t.Errorf("%s, %v %v: %v", what, x.sandbox, x.link, err)
				}
			}
		}
	}
	if _, err := osl.Open(t.Context(), "fresh"); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("a sandbox was made: %v", err)
	}
	// What the kernel makes something else of is taken back, with all the rest.
	for value, says := range map[string]string{"4096": "the kernel made", "x": "does not take"} {
		_, err := osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "fresh", Sysctls: map[string]string{"ipv4.tcp_rmem": value}}}})
		if !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("tcp_rmem %s: %v", value, err)
		}
		if _, err := osl.Open(t.Context(), "fresh"); !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("a sandbox is left: %v", err)
		}
	}
}

// lo takes the addresses that it has, and others of 127.0.0.0/8.
func TestLoopbackAddresses(t *testing.T) {
	p := netip.MustParsePrefix
	settle(t, osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "lo", Addresses: []netip.Prefix{p("127.0.0.1/8"), p("::1/128"), p("127.0.0.5/8"), p("10.255.0.1/32")}}}})
	settingsAre(t, "a", map[string]string{"ipv6/conf/lo/disable_ipv6": "0"})
	n, err := osl.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := errors.Join(n.AddAliasIP("lo", ipNet(p("127.0.0.9/8"))), n.AddAliasIP("lo", ipNet(p("127.0.0.1/8")))); err != nil {
		t.Error(err)
	}
	settle(t, osl.Spec{Name: "a"}) // what is the kernel's stays
	addrs, err := connOf(t, n).Addrs(t.Context(), 1)
	if err != nil || len(addrs) == 0 || addrs[0].Prefix != p("127.0.0.1/8") || addrs[0].Scope != 254 {
		t.Errorf("lo has %v, %v", addrs, err)
	}
}

// An alias IP is written as one: marked as such, of the scope that the caller's peers
// see, which is the host's for 127.0.0.0/8 alone.
func TestHowAnAliasIsWritten(t *testing.T) {
	p := netip.MustParsePrefix
	n, err := osl.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Destroy()
	for _, x := range []struct {
		addr  netip.Prefix
		scope uint8
	}{{p("127.0.0.9/8"), unix.RT_SCOPE_HOST}, {p("169.254.7.1/16"), unix.RT_SCOPE_UNIVERSE}, {p("10.9.0.1/32"), unix.RT_SCOPE_UNIVERSE}, {p("127.0.0.1/8"), unix.RT_SCOPE_HOST}} {
		if err := errors.Join(n.RemoveAliasIP("lo", ipNet(x.addr)), n.AddAliasIP("lo", ipNet(x.addr))); err != nil {
			t.Fatal(err)
		}
		addrs, err := connOf(t, n).Addrs(t.Context(), 1)
		i := slices.IndexFunc(addrs, func(a rtnl.Addr) bool { return a.Prefix == x.addr })
		if err != nil || i < 0 || addrs[i].Scope != x.scope || addrs[i].Proto != rtnl.AliasProtocol {
			t.Errorf("%v: %+v, %v", x.addr, addrs, err)
		}
	}
}

// What means nothing for a type of link is refused, and so is an MTU that it does
// not take.
func TestWhatIsPassedOverIsRefused(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	for says, s := range map[string]osl.InterfaceSpec{
		"vni means nothing for a bridge":         {Name: "x", Type: "bridge", VNI: 3},
		"remote means nothing for a veth":        {Name: "x", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "y"}, Remote: ip},
		"vlan means nothing for a vxlan":         {Name: "x", Type: "vxlan", VNI: 3, VLAN: 4},
		"mode means nothing for a bridge":        {Name: "x", Type: "bridge", Mode: "vepa"},
		"parent means nothing for a bridge":      {Name: "x", Type: "bridge", Parent: "lo"},
		"port means nothing for a link of the h": {Name: "x", Source: "y", Port: 9},
		"peer means nothing for a tap":           {Name: "x", Type: "tap", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "y"}},
		"over the limit of a veth, 65535":        {Name: "x", MTU: 70000, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "y"}},
		"below 68":                               {Name: "x", Type: "bridge", MTU: 67},
		`did you mean "bridge"`:                  {Name: "x", Type: "brigde"},
		"a tun has no hardware address":          {Name: "x", Type: "tun", MAC: osl.MAC(hw(1))},
		"lo stays up":                            {Name: "lo", Down: true},
	} {
		if _, err := osl.Diff(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{s}}}}); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// An error says each thing once, and names who is in the way.
func TestErrorsSayThingsOnce(t *testing.T) {
	e, f := end("e0"), end("e1")
	e.Addresses, f.Addresses = v4("10.2.0.2/24"), v4("10.2.0.3/24")
	_, err := osl.Diff(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{e, f}}}})
	if !errors.Is(err, osl.ErrAddressConflict) || !strings.Contains(err.Error(), `is on "e0"`) || strings.Count(err.Error(), "the subnet") != 1 {
		t.Error(err)
	}
	for _, x := range []error{fault.Because(osl.ErrInvalid, unix.EINVAL), fault.Because(osl.ErrExists, unix.EEXIST)} {
		if s := x.Error(); strings.Contains(s, ":") {
			t.Errorf("%q says it twice", s)
		}
	}
}
