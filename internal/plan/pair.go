//go:build linux

package plan

import "github.com/seed59451c2b/osl/internal/rtnl"

// Pair makes what is wanted of one end of a veth hold for both, where the other
// says nothing of its own: an MTU that only one end has lets the other send what
// this one drops. The other end is nil where it is on the host.
func Pair(first, other *Iface) {
	if other != nil {
		if first.MTU == 0 {
			first.MTU = other.MTU
		} else if other.MTU == 0 {
			other.MTU = first.MTU
		}
		first.Peer.MTU = other.MTU
		return
	}
	first.Peer.MTU = first.MTU
}

// farMTU plans the MTU of the host's end of a veth that stands.
func (b *builder) farMTU(f *Iface, l *rtnl.Link) {
	if f.Peer == nil || f.Peer.Link == nil || f.Peer.MTU == 0 {
		return
	}
	far := f.Peer.Link
	t, _ := ParseTag(far.Alias)
	if t.Origin != Far || far.Kind != "veth" || far.Parent != l.Index || far.MTU == f.Peer.MTU {
		return
	}
	set := func(mtu int) Action { return SetLink{Link: rtnl.LinkSet{Index: far.Index, MTU: mtu}} }
	b.wire = append(b.wire, Op{NS: HostNS, Dev: far.Name, Do: set(f.Peer.MTU), Half: true,
		Undo: []Op{{NS: HostNS, Dev: far.Name, Do: set(far.MTU)}}})
}
