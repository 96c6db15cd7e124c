package plan

import (
	"fmt"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// realm is where a subnet can be on one interface: each VRF is one of its own.
type realm struct {
	net netip.Prefix
	vrf string
}

// conflicts refuses an address whose subnet is on another interface that stays, unless
// one of the two may share it.
func (b *builder) conflicts(w *Sandbox, k *known) error {
	on, others := map[realm]int{}, map[realm]rtnl.Addr{}
	for _, a := range k.Addrs {
		f := b.wanted[a.Index]
		if b.drops(a) || b.addrs[address{a.Index, a.Prefix}] || w.Prune && a.Proto == rtnl.AliasProtocol || f != nil && f.SharedSubnet { // an alias IP may be beside the subnet's own
			continue
		}
		at := realm{a.Prefix.Masked(), b.vrfOf(w, k, f, a.Index)}
		on[at], others[at] = a.Index, a
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		index := b.index[end{w.Key, f.Name}]
		for _, a := range f.Addrs {
			if !a.MayConflict() || f.SharedSubnet {
				continue
			}
			at := realm{a.Prefix.Masked(), b.vrfOf(w, k, f, index)}
			if other, ok := on[at]; ok && other != index {
				dev := k.nameOf(other)
				if o := b.wanted[other]; o != nil {
					dev = o.Name
				}
				p := &Problem{Key: w.Key, Dev: f.device(), Kind: Conflict, Field: "addresses", Entry: a.Prefix.String(),
					Text: fmt.Sprintf("the subnet %v of the address %v is on %q", at.net, a.Prefix, dev)}
				switch theirs, is := others[at]; {
				case !w.Prune: // no Spec of the sandbox says so
				case is && theirs.Index == other:
					p.Text += fmt.Sprintf(" by the address %v of others; shared_subnet of %q allows that", theirs.Prefix, f.Name)
					p.Away = &Op{NS: w.Key, Dev: k.nameOf(other), Do: DelAddr{theirs}}
				default:
					p.Text += "; shared_subnet of one of them allows that"
				}
				return p
			}
			on[at] = index
		}
	}
	return nil
}

// vrfOf returns the name of the VRF that an interface is in, wanted or as it is.
func (b *builder) vrfOf(w *Sandbox, k *known, f *Iface, index int) string {
	if f != nil && f.Master != "" {
		if m := w.Iface(f.Master); m != nil && m.Kind == "vrf" {
			return f.Master
		}
	}
	if l := k.ByIndex(index); l != nil && (f == nil || f.Master == "" && !w.Prune) {
		if m := k.ByIndex(l.Master); m != nil && m.Kind == "vrf" {
			return m.Name
		}
	}
	return ""
}
