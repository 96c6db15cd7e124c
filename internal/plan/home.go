package plan

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Home is what brings a link of the host back as it was, beside what a single
// message says.
type Home struct {
	Tag  string // the link's, which it keeps until all is done
	Lost int    // how many addresses, routes and neighbours were too many to note
	// Names are the alternative names that it does not keep: those that hold its record,
	// of which Kept is what that says, and those that osl gave it.
	Names []string
	Kept  []rtnl.Kept
}

// goHome plans the way back of a link that came from the host.
func goHome(key, dev string, index int, tag Tag) Op {
	host := HostNS
	set := rtnl.LinkSet{Index: index, NewIndex: tag.Index, Name: tag.Source, MAC: tag.MAC, MTU: tag.MTU,
		TxQLen: &tag.TxQLen, Alias: &tag.Alias, Up: &tag.Up, Options: tag.Was}
	return Op{NS: key, Dev: dev, Do: SetLink{To: &host, Link: set, Home: &Home{Tag: tag.String()}}, Half: true}
}

// Since returns the way home of a link as the kernel describes it: what it has
// already is not set, since its driver may refuse that; and what its record says
// comes with it.
func (a SetLink) Since(l *rtnl.Link) SetLink {
	a.Link = lacks(a.Link, l)
	home := Home{Tag: a.Home.Tag}
	for _, name := range l.AltName {
		if IsHomeRecord(name) {
			home.Names = append(home.Names, name)
		}
	}
	home.Kept, home.Lost = parseHomeRecord(home.Names)
	if t, ok := ParseTag(a.Home.Tag); ok {
		home.Names = append(home.Names, t.Gave(l)...)
	}
	a.Home = &home
	return a
}

// lacks leaves out of set the hardware address, MTU and queue length that the
// link has.
func lacks(set rtnl.LinkSet, l *rtnl.Link) rtnl.LinkSet {
	if bytes.Equal(set.MAC, l.MAC) {
		set.MAC = nil
	}
	if set.MTU == l.MTU {
		set.MTU = 0
	}
	if set.TxQLen != nil && *set.TxQLen == l.TxQLen {
		set.TxQLen = nil
	}
	set.Options, _ = linkLacks(set.Options, &l.Options)
	return set
}

// AtOnce reports whether one message does it all.
func (a SetLink) AtOnce() bool {
	return a.Link.Options.Empty() && a.Link.MAC == nil && a.Link.MTU == 0 && a.Link.TxQLen == nil && len(a.Home.Names) == 0
}

// Arrival returns the message that moves the link home. Where that is not all, it
// is tagged until it is: whoever finds it knows what is left to do.
func (a SetLink) Arrival() SetLink {
	if !a.AtOnce() {
		a.Link = rtnl.LinkSet{Index: a.Link.Index, NewIndex: a.Link.NewIndex, Name: a.Link.Name, Alias: &a.Home.Tag}
	}
	return a
}

// AtHome returns what is left to do for a link that has arrived on the host, with
// its index and name there. Each property has a message of its own: what a driver
// refuses of them keeps nothing else from the link. The tag goes last.
func (a SetLink) AtHome(index int, dev string) (ops []Op) {
	add := func(do Action) { ops = append(ops, Op{NS: HostNS, Dev: dev, Do: do}) }
	set := func(s rtnl.LinkSet) {
		s.Index = index
		add(SetLink{Link: s})
	}
	if a.Link.MAC != nil {
		set(rtnl.LinkSet{MAC: a.Link.MAC})
	}
	if a.Link.MTU != 0 {
		set(rtnl.LinkSet{MTU: a.Link.MTU})
	}
	if a.Link.TxQLen != nil {
		set(rtnl.LinkSet{TxQLen: a.Link.TxQLen})
	}
	for at := range rtnl.LinkOptions {
		if v, ok := a.Link.Options.Get(at); ok {
			var one rtnl.Options
			one.Set(at, v)
			set(rtnl.LinkSet{Options: one})
		}
	}
	set(rtnl.LinkSet{Up: a.Link.Up})
	for _, k := range a.Home.Kept {
		add(PutBack{k.OnLink(index)})
	}
	for _, name := range a.Home.Names {
		add(DelAltName{index, []string{name}})
	}
	set(rtnl.LinkSet{Alias: a.Link.Alias})
	return ops
}

// Homecoming is when a step of AtHome has its turn: 0 gives the link something back, 1
// takes away what notes that, and 2 what says that something is left to do.
func (op *Op) Homecoming() int {
	switch a := op.Do.(type) {
	case DelAltName:
		return 1
	case SetLink:
		if a.Link.Alias != nil {
			return 2
		}
	}
	return 0
}

// AfterAddrs is 1 for what a link gets back when all addresses are there, and 0 for others.
func AfterAddrs(op Op) int {
	if k, is := op.Do.(PutBack); is && !k.Kept.IsAddr() {
		return 1
	}
	return 0
}

// A home record notes what a link of the host loses when it moves: its addresses,
// its routes and its permanent neighbours. It is in alternative names of the link
// itself, so it goes where that goes, also where the kernel brings a device home
// whose namespace has ended. No other link has a name of these.
const (
	homePrefix = "osl1h."
	// maxHomeNames keeps what the kernel says of the link within a page: some
	// programs read links into one, and pass over those that do not fit.
	maxHomeNames = 12
	homeChunk    = 90 // of the text in one name
	maxHome      = 64 << 10
)

// IsHomeRecord reports whether an alternative name is part of a home record.
func IsHomeRecord(name string) bool { return strings.HasPrefix(name, homePrefix) }

// Note packs what is kept of the link, for its home record. What finds no room is
// counted in Lost: of neighbours and routes first.
func (h *HostLink) Note() {
	h.record, h.Lost = "", len(h.Kept)
	if len(h.Kept) == 0 {
		return
	}
	var ends []int // of what is in list, one by one
	var list []byte
	for _, k := range h.Kept {
		if typ, data, ok := k.Portable(h.Link.Index); ok {
			list = binary.AppendUvarint(binary.AppendUvarint(list, uint64(typ)), uint64(len(data)))
			list = append(list, data...)
			ends = append(ends, len(list))
		}
	}
	try := func(n int) (fits bool) {
		b := binary.AppendUvarint(nil, uint64(len(h.Kept)-n))
		if n > 0 {
			b = append(b, list[:ends[n-1]]...)
		}
		text := base64.RawURLEncoding.EncodeToString(pack(b))
		if len(b) > maxHome || len(text) > homeChunk*maxHomeNames {
			return false
		}
		h.record, h.Lost = text, len(h.Kept)-n
		return true
	}
	if !try(len(ends)) {
		try(sort.Search(len(ends), func(n int) bool { return !try(n + 1) }))
	}
}

// noteHome plans the home record of a link that moves in: on the link, where it is
// then. It needs no inverse, since the way home reads it and takes it away.
func (p *phases) noteHome(key string, w *Iface, tag Tag, index int) {
	text := w.From.record
	if text == "" {
		return
	}
	var names []string
	total := (len(text) + homeChunk - 1) / homeChunk
	id := strconv.FormatInt(tag.Born, 36) + "." + strconv.FormatInt(int64(index), 36)
	for i := range total {
		names = append(names, fmt.Sprintf("%s%s.%d.%d.%s", homePrefix, id, i, total, text[i*homeChunk:min((i+1)*homeChunk, len(text))]))
	}
	p.wire = append(p.wire, Op{NS: key, Dev: w.device(), Do: NewAltName{index, names}, Half: true, Quiet: true})
}

// parseHomeRecord reads what a link's home record says: nothing where it is not
// whole, since it was being written or taken away then.
func parseHomeRecord(names []string) (list []rtnl.Kept, lost int) {
	var parts [maxHomeNames]string
	found, total := 0, 0
	for _, name := range names {
		f := strings.SplitN(name, ".", 6)
		if len(f) != 6 {
			continue
		}
		i, err := strconv.Atoi(f[3])
		n, nerr := strconv.Atoi(f[4])
		if err != nil || nerr != nil || i < 0 || i >= n || n > maxHomeNames || parts[i] != "" || total != 0 && n != total {
			return nil, 0
		}
		parts[i], total, found = f[5], n, found+1
	}
	if found == 0 || found != total {
		return nil, 0
	}
	b, err := unpacked(strings.Join(parts[:total], ""), maxHome)
	if err != nil {
		return nil, 0
	}
	num := func() int {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > maxHome {
			b = nil
			return 0
		}
		b = b[n:]
		return int(v)
	}
	lost = num()
	for len(b) > 0 {
		typ, size := num(), num()
		if size > len(b) {
			break
		}
		if k, ok := rtnl.NewKept(uint16(typ), b[:size]); ok {
			list = append(list, k)
		}
		b = b[size:]
	}
	return list, lost
}
