package plan

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
