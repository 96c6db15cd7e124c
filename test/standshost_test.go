//go:build linux

package osltest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
)

// What is said of an end on the host, and of a bridge there, is exported, and makes the same:
// also where the host's defaults are what was asked for.
func TestStandsOnHost(t *testing.T) {
	begin(t)
	file := `
name: sh
sandboxes:
  - name: host
    interfaces:
      - {name: shbr, type: bridge, addresses: [10.97.0.1/24], sysctls: {ipv4.rp_filter: "2"}}
      - name: sh0
        addresses: [10.97.1.1/24]
        ipv6: link-local
        txqueuelen: 77
        offloads: {tx: false, gro: true}
        sysctls: {ipv4.rp_filter: "1", ipv4.arp_announce: "2", ipv6.hop_limit: "9"}
        disable_arp_for_vip: false
      - {name: sh1, ipv6: auto, sysctls: {ipv4.arp_notify: "0", ipv6.accept_dad: "1"}}
      - {name: sh2, addresses: [fd97::1/64], disable_arp_for_vip: true, offloads: {tx-scatter-gather: false}}
      - {name: sh3, master: shbr, sysctls: {ipv4.forwarding: "0"}}
      - {name: sh4, sysctls: {ipv6.disable_ipv6: "0"}}
  - name: sha
    interfaces: [{name: e0}, {name: e1}, {name: e2}, {name: e3}, {name: e4}]
links: [[sha/e0, host/sh0], [sha/e1, host/sh1], [sha/e2, host/sh2], [sha/e3, host/sh3], [sha/e4, host/sh4]]
`
	f, err := netfile.Parse("sh.yaml", []byte(file))
	must(t, err)
	down := func() { _, err := osl.Down(t.Context(), osl.Network{Name: "sh"}); must(t, err) }
	defer down()
	settles(t, f.Network)
	look := func() (list []string) {
		for _, dev := range []string{"shbr", "sh0", "sh1", "sh2", "sh3", "sh4"} {
			for _, about := range []string{"link", "address"} {
				for _, x := range asked[[]map[string]any](t, "/proc/thread-self/ns/net", "ip", "-d", "-json", about, "show", "dev", dev) {
					for _, chance := range []string{"ifindex", "link_index", "link_netnsid", "ifalias", "linkinfo"} {
						delete(x, chance)
					}
					text, err := json.Marshal(x)
					must(t, err)
					list = append(list, string(text))
				}
			}
			for _, setting := range []string{"ipv4/conf/%s/rp_filter", "ipv4/conf/%s/arp_announce", "ipv4/conf/%s/arp_ignore", "ipv4/conf/%s/arp_notify", "ipv4/conf/%s/forwarding",
				"ipv6/conf/%s/hop_limit", "ipv6/conf/%s/accept_ra", "ipv6/conf/%s/accept_dad", "ipv6/conf/%s/disable_ipv6"} {
				path := fmt.Sprintf(setting, dev)
				list = append(list, path+" = "+sysctl(t, "", path))
			}
			for _, cmd := range []uint32{ethtoolGTXCSUM, ethtoolGSG, ethtoolGGRO} {
				list = append(list, fmt.Sprintf("offload %#x of %s is %v", cmd, dev, offload(t, "/proc/thread-self/ns/net", dev, cmd)))
			}
		}
		return list
	}
	eventually(t, "the kernel's own addresses are there for good", func() bool { return !strings.Contains(strings.Join(look(), ""), `"tentative":true`) })
	before := look()
	read := asRead(t, f.Network)
	down()
	settles(t, read)
	same(t, "what was exported makes", before, look)
	if c, err := osl.Diff(t.Context(), f.Network); err != nil || len(c) > 0 {
		t.Errorf("what was made of it lacks (%v):\n%v", err, c)
	}
}
