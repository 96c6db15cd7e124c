package plan

import "github.com/seed59451c2b/osl/internal/rtnl"

// pair are the two ends of a link of two ends, whichever it is seen from.
type pair [2]place

// pairOf returns the pair of which a link of a namespace is an end.
func (b *builder) pairOf(key string, l *rtnl.Link) pair {
	here, there := place{key, l.Index}, place{key, l.Parent}
	if l.ParentNS {
		far, byHand := b.have[key].Ends[l.Index]
		if there.ns = far; !byHand {
			here.ns = "" // nor has any other pair these indexes
		}
	}
	if there.ns < here.ns || there.ns == here.ns && there.index < here.index {
		here, there = there, here
	}
	return pair{here, there}
}

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
		first.Peer.TxQueues, first.Peer.RxQueues = other.Data.TxQueues, other.Data.RxQueues
		return
	}
	first.Peer.MTU = first.MTU
}

// otherEnd gives the peer of a new veth its index, and its configuration where
// no sandbox does.
func (b *builder) otherEnd(f *Iface) {
	if f.Peer == nil {
		return
	}
	n := b.make[len(b.make)-1].Do.(NewLink)
	at := end{f.Peer.Key, f.Peer.Name}
	if !f.Peer.Claimed {
		b.index[at] = newIndex()
		b.hostEnd(f.Peer.Name, f.Note, b.index[at], f.PeerMaster)
	}
	n.Link.Peer.Index, n.Link.Peer.MTU = b.index[at], f.Peer.MTU
	n.Link.Peer.TxQueues, n.Link.Peer.RxQueues = f.Peer.TxQueues, f.Peer.RxQueues
}
