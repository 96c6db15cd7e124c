//go:build linux

package osltest

import (
	"path/filepath"
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
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	saysList(t, "after a failure", read(key), before...)
	part := lab(key, map[string]string{"ipv4.tcp_ecn": "1"}, map[string]string{"ipv6.hop_limit": "7"})
	settled(t, part)
	if got := sysctl(t, key, "ipv4/tcp_ecn") + sysctl(t, key, "ipv6/conf/br/hop_limit") + sysctl(t, key, "ipv4/ip_forward"); got != "170" {
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
