package plan

import "slices"

// Unlisted adds to what is wanted of the host the ends of its links that had an entry and have
// none any more, as entries that say nothing: so they lose what those asked for. It needs the
// host read.
func Unlisted(want []Sandbox, have map[string]*State) {
	at := slices.IndexFunc(want, func(w Sandbox) bool { return w.Key == HostNS && w.Prune && w.Network != "" })
	if at < 0 || have[HostNS] == nil {
		return
	}
	host, s := &want[at], have[HostNS]
	ends := map[string]int{} // the network's, by their names, with the indexes of their other ends
	for i := range s.Links {
		if t, _ := ParseTag(s.Links[i].Alias); t.Origin == Far && t.OnHostFor(host.Network) {
			ends[s.Links[i].Name] = s.Links[i].Parent
		}
	}
	for i := range want {
		w := &want[i]
		if len(ends) == 0 || have[w.Key] == nil {
			continue
		}
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			if f.Peer == nil || f.Peer.Key != HostNS || f.Peer.Claimed || f.PeerMaster != nil {
				continue
			}
			far, had := ends[f.Peer.Name]
			if !had {
				continue
			}
			if l := have[w.Key].ByIndex(far); l == nil || l.Name != f.Name {
				continue
			}
			peer, other := *f.Peer, Iface{Name: f.Peer.Name, Kind: f.Kind, Note: f.Note, MadeBy: &End{Key: w.Key, Name: f.Name}, Owner: host.Network, Unlisted: true}
			peer.Claimed = true
			f.Peer = &peer
			Pair(f, &other)
			host.Ifaces = append(slices.Clip(host.Ifaces), other)
		}
	}
}

// network is the one that the tag of an interface names.
func (i *Iface) network() string {
	if i.Unlisted {
		return ""
	}
	return i.Owner
}
