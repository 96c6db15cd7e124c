//go:build linux

package osltest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// What TestEdits draws of tunnels, of links that share their parent's address, and of those that
// need nothing; and that a network that was edited is like a new one in what ip tells of links.

// tunnels are the types of them.
var tunnels = []string{"vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit"}

// tunnel draws one, the i-th of its sandbox: none has what another one can have.
func (r *drawer) tunnel(f *osl.InterfaceSpec, kind string, i int, others []osl.InterfaceSpec) {
	f.Type = kind
	ip := func(what string, n int) netip.Addr {
		if strings.HasPrefix(kind, "ip6") {
			return netip.MustParseAddr(fmt.Sprintf("fdcc::%d", n))
		}
		return netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", n))
	}
	f.TTL, f.TOS = draw(r, "ttl", 0, 0, 7, 64), draw(r, "tos", 0, 0, 8)
	f.Remote = ip("remote", 10*i+draw(r, "remote", 1, 2))
	switch kind {
	case "vxlan":
		f.VNI, f.Learning = 10*i+draw(r, "VNI", 1, 2), maybe(r, "learning", true, false)
	case "geneve":
		f.VNI = 10*i + draw(r, "VNI", 1, 2)
		return
	case "gre", "gretap", "ip6gre", "ip6gretap":
		f.Key = draw(r, "key", 0, 0, 7, 8)
	}
	if r.sometimes("a local", 2) {
		f.Local = ip("local", 100+10*i+draw(r, "local", 1, 2))
	}
	if !strings.HasSuffix(kind, "tap") && r.sometimes("no remote", 3) {
		f.Remote = netip.Addr{}
	}
	var parents []string
	for _, o := range others {
		if (o.Type == "veth" || o.Type == "dummy") && o.MTU != 1300 { // what a tunnel on it has is enough for IPv6
			parents = append(parents, o.Name)
		}
	}
	if len(parents) > 0 && r.sometimes("a parent", 2) {
		f.Parent = draw(r, "parent", parents...)
	}
}

// plain draws one that needs nothing else.
func (r *drawer) plain(f *osl.InterfaceSpec, kind string) {
	switch f.Type = kind; kind {
	case "ifb":
		f.NumTxQueues, f.NumRxQueues = draw(r, "numtxqueues", 0, 0, 2), draw(r, "numrxqueues", 0, 0, 3)
	case "tun", "tap":
		ids := []*int{nil, nil, ptr(0)}
		if testnet.IsRoot() { // another user has no others
			ids = append(ids, ptr(1000))
		}
		f.Owner, f.OwnerGroup = draw(r, "owner", ids...), draw(r, "owner_group", ids...)
		f.MultiQueue, f.VNetHdr = r.sometimes("multi_queue", 3), r.sometimes("vnet_hdr", 3)
	}
}

// ipvlan draws one of those that have one mode and the same flags on each parent.
func (r *drawer) ipvlan(f *osl.InterfaceSpec, kind string, parents []string, others []osl.InterfaceSpec) {
	f.Type, f.Parent = kind, draw(r, "parent", parents...)
	f.Mode, f.Flags = draw(r, "mode", "", "l2", "l3", "l3s"), draw(r, "flags", "", "bridge", "private", "vepa")
	for _, o := range others {
		if o.Parent == f.Parent && strings.HasPrefix(o.Type, "ipv") {
			f.Mode, f.Flags = o.Mode, o.Flags
		}
	}
}

// without leaves out the parents on which there are links of some types.
func without(parents []string, all []osl.InterfaceSpec, types string) []string {
	return slices.DeleteFunc(slices.Clone(parents), func(name string) bool {
		return slices.ContainsFunc(all, func(o osl.InterfaceSpec) bool { return o.Parent == name && strings.HasPrefix(o.Type, types) })
	})
}

// allowed takes from an interface what its type has not.
func (r *drawer) allowed(f *osl.InterfaceSpec) {
	switch f.Type {
	case "vcan": // which carries no IP
		f.Addresses, f.Aliases, f.Routes, f.IPv6 = nil, nil, nil, ""
	case "sit": // which gets IPv6 addresses by those of IPv4
		f.Addresses, f.IPv6 = slices.DeleteFunc(f.Addresses, is6), ""
	}
}

// oneOtherEnd reports whether an interface leads to one other end, or its neighbors have no
// hardware address as others have.
func oneOtherEnd(f osl.InterfaceSpec) bool {
	return slices.Contains([]string{"tun", "wireguard", "gre", "ip6gre", "ipip", "sit"}, f.Type)
}

// likeNew compares what ip tells of the links of a network that was edited with what it tells
// when the network is taken down and up again.
func (r *drawer) likeNew(t *testing.T, n osl.Network) {
	links := func() map[string]string {
		is := map[string]string{}
		for _, s := range n.Sandboxes {
			for _, f := range s.Interfaces {
				said := unowned(settingsSaid(t, osl.GenerateKey(s.Name), f.Name))
				if names, _ := said["altnames"].([]any); names != nil {
					slices.SortFunc(names, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				}
				for _, what := range []string{"promiscuity", "allmulti", "link_netnsid", "link", "qdisc", "master", "tso_max_size", "tso_max_segs"} { // of others too, and numbers
					delete(said, what)
				}
				info, _ := said["linkinfo"].(map[string]any)
				if data, _ := info["info_data"].(map[string]any); data != nil {
					maps.DeleteFunc(data, func(what string, _ any) bool {
						return slices.ContainsFunc(volatile, func(v string) bool { return strings.Contains(what, v) && what != "id" })
					})
				}
				delete(info, "info_slave_data")
				is[s.Name+"."+f.Name] = fmt.Sprint(said)
			}
		}
		return is
	}
	edited := links()
	if _, err := osl.Down(t.Context(), n); err != nil {
		r.Fatal(err)
	}
	if _, err := osl.Apply(t.Context(), n); err != nil {
		r.Fatal(err)
	}
	for name, is := range links() {
		if edited[name] != is {
			r.Errorf("%s is, edited,\n%s\nand new\n%s", name, edited[name], is)
		}
	}
}
