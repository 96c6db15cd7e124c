//go:build linux

package osltest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// A setting of the kernel that the file drops is as in a new sandbox, or as a new link has
// it; what somebody else set stays, and a change that fails leaves all as it was.
func TestSysctlsDropped(t *testing.T) {
	begin(t)
	key, fresh := newKey(), newKey()
	lab := func(key string, box, link map[string]string) osl.Network {
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Sysctls: box, Interfaces: []osl.InterfaceSpec{
			{Name: "br", Type: "bridge", Sysctls: link, Addresses: prefixes("10.9.0.1/24", "fd09::1/64")}}}}}
	}
	box := map[string]string{"ipv4.ip_forward": "1", "ipv6.conf.all.forwarding": "1", "ipv4.conf.all.rp_filter": "2", "ipv4.conf.default.rp_filter": "1",
		"ipv4.ip_local_port_range": "20000 30000", "ipv4.tcp_ecn": "1"}
	link := map[string]string{"ipv4.rp_filter": "2", "ipv4.proxy_arp": "1", "ipv6.accept_ra": "2", "ipv6.hop_limit": "7"}
	all := []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding", "ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter",
		"ipv4/ip_local_port_range", "ipv4/tcp_ecn", "ipv4/conf/all/accept_redirects", "ipv4/conf/br/rp_filter", "ipv4/conf/br/proxy_arp",
		"ipv6/conf/br/accept_ra", "ipv6/conf/br/hop_limit", "ipv4/conf/br/forwarding", "ipv6/conf/br/forwarding", "ipv4/tcp_retries2"}
	read := func(key string) (list []string) {
		for _, path := range all {
			list = append(list, path+" "+sysctl(t, key, path))
		}
		return list
	}
	for _, n := range []osl.Network{lab(key, box, link), lab(fresh, nil, nil)} {
		settled(t, n)
		defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	}
	before := read(key)
	bad := lab(key, nil, nil)
	bad.Sandboxes[0].Routes = noRoute()
	bad.Sandboxes[0].Routes[0].Dev = "br"
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	saysList(t, "after a failure", read(key), before...)
	part := lab(key, map[string]string{"ipv4.tcp_ecn": "1"}, map[string]string{"ipv6.hop_limit": "7"})
	settled(t, part)
	if got := sysctl(t, key, "ipv4/tcp_ecn") + sysctl(t, key, "ipv6/conf/br/hop_limit") + sysctl(t, key, "ipv4/ip_forward"); got != "17"+sysctl(t, fresh, "ipv4/ip_forward") {
		t.Errorf("what is asked for still, and what is not: %s", got)
	}
	settled(t, lab(key, nil, nil))
	saysList(t, "dropped", read(key), read(fresh)...)
	nsenter(t, key, "sysctl", "-qw", "net.ipv4.tcp_retries2=9", "net.ipv4.conf.br.proxy_arp=1")
	if did := settled(t, lab(key, nil, nil)); len(did) > 0 {
		t.Errorf("what somebody else set is changed:\n%v", did)
	}
	if got := sysctl(t, key, "ipv4/tcp_retries2") + sysctl(t, key, "ipv4/conf/br/proxy_arp"); got != "91" {
		t.Errorf("by hand: %s", got)
	}
}

// So are those that keep an interface quiet about addresses of others.
func TestQuietDropped(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(quiet bool, link map[string]string) osl.Network {
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Sysctls: map[string]string{"ipv4.conf.default.arp_announce": "1"},
			Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge", Sysctls: link, DisableARPForVIP: quiet, Addresses: prefixes("10.9.0.1/24", "fd09::1/64")}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(false, nil)); must(t, err) }()
	has := func(want string) {
		t.Helper()
		if got := sysctl(t, key, "ipv4/conf/br/arp_ignore") + sysctl(t, key, "ipv4/conf/br/arp_announce"); got != want {
			t.Errorf("arp_ignore and arp_announce are %s, want %s", got, want)
		}
	}
	settled(t, lab(true, nil))
	has("12")
	settled(t, lab(false, nil))
	has("01")
	settled(t, lab(true, map[string]string{"ipv4.arp_ignore": "1"}))
	settled(t, lab(false, map[string]string{"ipv4.arp_ignore": "1"}))
	has("11")
	settled(t, lab(false, map[string]string{"ipv4.arp_announce": "2", "ipv4.arp_notify": "0", "ipv4.promote_secondaries": "1", "ipv6.accept_dad": "1", "ipv6.ndisc_notify": "0", "ipv6.mtu": "1400", "ipv6.addr_gen_mode": "1"}))
	has("02")
	mode := lab(false, nil)
	for range 2 { // of one name, and of the other
		mode.Sandboxes[0].Interfaces[0].AddrGenMode = "none"
		settled(t, mode)
		settled(t, lab(false, map[string]string{"ipv6.addr_gen_mode": "1"}))
	}
	settled(t, lab(true, nil))
	has("12")
	nsenter(t, key, "sysctl", "-qw", "net.ipv4.conf.br.arp_announce=0")
	settled(t, lab(true, nil))
	has("12")
	settled(t, lab(false, nil))
	has("01")
}

// Where there is no room to tell of all settings that were asked for, those that stay as they
// are go first: the others are put back.
func TestSysctlsDroppedWithoutRoom(t *testing.T) {
	begin(t)
	key := newKey()
	quiet := strings.Fields("rp_filter accept_local route_localnet log_martians arp_filter arp_accept proxy_arp proxy_arp_pvlan send_redirects arp_evict_nocarrier bootp_relay src_valid_mark igmpv2_unsolicited_report_interval igmpv3_unsolicited_report_interval drop_gratuitous_arp")
	lab := func(said bool) osl.Network {
		f := osl.InterfaceSpec{Name: "br", Type: "bridge", Addresses: prefixes("fd09::1/64")}
		if said {
			f.Sysctls = map[string]string{"ipv6.accept_dad": "0", "ipv6.use_tempaddr": "1"}
			for _, name := range quiet {
				f.Sysctls["ipv4."+name] = "1"
			}
		}
		f.Note = strings.Repeat("n", 100)
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{f}}}}
	}
	read := func() (list []string) {
		for _, name := range quiet {
			list = append(list, name+" "+sysctl(t, key, "ipv4/conf/br/"+name))
		}
		return list
	}
	defer func() { _, err := osl.Down(t.Context(), lab(false)); must(t, err) }()
	settled(t, lab(false))
	usual := read()
	settled(t, lab(true))
	settled(t, lab(false))
	saysList(t, "dropped", read(), usual...)
}
