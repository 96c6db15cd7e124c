package plan

import (
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// takeOver plans to tag a link that somebody else made just as it is wanted.
func (b *builder) takeOver(w *Sandbox, f *Iface, l *rtnl.Link) Tag {
	t := Tag{Origin: Made, Source: orElse(f.Source, f.Name), Born: b.birth()}
	if f.From != nil {
		t = TagOf(l, Host)
		t.Source, t.Index, t.Born = f.From.Link.Name, 0, b.birth()
	}
	if l.Kind == "bridge" {
		t.MTU = f.MTU
	}
	t.Pin, t.Asked, t.Marks = f.Pin, f.asked, f.marks()
	for _, name := range f.AltNames {
		// A link of the host may have had it there, and keeps it.
		if f.From == nil && slices.Contains(l.AltName, name) {
			t.Names = append(t.Names, nameMark(name))
		}
	}
	b.retake(w.Key, l, t)
	return t
}

func (b *builder) retake(key string, l *rtnl.Link, t Tag) {
	op := retag(key, l.Name, l.Index, t.String())
	op.Half, op.Undo = true, []Op{retag(key, l.Name, l.Index, l.Alias)}
	b.wire = append(b.wire, op)
}

// changeHostEnd plans what the other end of a link, on the host, lacks.
func (b *builder) changeHostEnd(w *Sandbox, f *Iface) {
	if f.Peer == nil || f.Peer.Claimed || b.known[f.Peer.Key] == nil {
		return
	}
	l := b.known[f.Peer.Key].Link(f.Peer.Name)
	if l == nil {
		return
	}
	had := b.known[f.Peer.Key].tags[l.Index]
	t := had
	if t.Origin == None {
		t = Tag{Origin: Far, Source: l.Name}
	}
	// An end that had an entry of its own on the host has none any more, unless this is a
	// part of its network alone, which does not say that.
	whole := had.Network == "" || w.Network != ""
	if whole {
		t.Port, t.Network = f.PeerMaster != nil, ""
	}
	if t.String() != had.String() {
		b.retake(f.Peer.Key, l, t)
	}
	set, old, changed := rtnl.LinkSet{Index: l.Index}, rtnl.LinkSet{Index: l.Index}, false
	name := ""
	if m := f.PeerMaster; m != nil && l.Master != m.Index {
		set.Master, old.Master, name, changed = &m.Index, &l.Master, m.Name, true
	} else if m == nil && l.Master != 0 && whole && (had.Port || had.Network != "") {
		set.Master, old.Master, changed = new(int), &l.Master, true // somebody else's it stays
	}
	if mtu := f.Peer.MTU; mtu != 0 && l.MTU != mtu {
		set.MTU, old.MTU, changed = mtu, l.MTU, true
	}
	if up, was := true, l.Up(); !was {
		set.Up, old.Up, changed = &up, &was, true
	}
	if changed {
		b.wire = append(b.wire, Op{NS: f.Peer.Key, Dev: l.Name, Do: SetLink{Link: set, Master: name}, Half: true,
			Undo: []Op{{NS: f.Peer.Key, Dev: l.Name, Do: SetLink{Link: old}}}})
	}
}
