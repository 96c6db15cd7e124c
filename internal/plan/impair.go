package plan

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

type (
	// NewQdisc puts a queueing discipline at the root of a link; ChangeQdisc changes
	// it in its place, and ReplaceQdisc puts one of another kind there.
	NewQdisc     struct{ Qdisc rtnl.Qdisc }
	ChangeQdisc  struct{ Qdisc rtnl.Qdisc }
	ReplaceQdisc struct{ Qdisc rtnl.Qdisc }
	// DelQdisc takes osl's away, and the kernel's own comes back.
	DelQdisc struct{ Qdisc rtnl.Qdisc }
)

func (a NewQdisc) Request(FDs) rtnl.Request     { return rtnl.NewQdisc(a.Qdisc) }
func (a ChangeQdisc) Request(FDs) rtnl.Request  { return rtnl.ChangeQdisc(a.Qdisc) }
func (a ReplaceQdisc) Request(FDs) rtnl.Request { return rtnl.ReplaceQdisc(a.Qdisc) }
func (a DelQdisc) Request(FDs) rtnl.Request {
	return rtnl.DelQdisc(a.Qdisc.Index, a.Qdisc.Handle)
}

func (a NewQdisc) Command(dev string) string     { return qdiscCommand("add", a.Qdisc, dev) }
func (a ChangeQdisc) Command(dev string) string  { return qdiscCommand("change", a.Qdisc, dev) }
func (a ReplaceQdisc) Command(dev string) string { return qdiscCommand("replace", a.Qdisc, dev) }
func (a DelQdisc) Command(dev string) string {
	return fmt.Sprintf("tc qdisc del dev %s root handle %x:", shell.Quote(dev), a.Qdisc.Handle>>16)
}

func qdiscCommand(verb string, q rtnl.Qdisc, dev string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tc qdisc %s dev %s root handle %x: %s", verb, shell.Quote(dev), q.Handle>>16, q.Kind)
	i := q.Impair
	if q.Kind == "tbf" {
		burst, limit := i.Burst()
		fmt.Fprintf(&b, " rate %s burst %d limit %d", Rate(i.Rate), burst, limit)
		return b.String()
	}
	fmt.Fprintf(&b, " limit %d", i.Limit)
	if i.Delay != 0 {
		fmt.Fprintf(&b, " delay %v", tcTime(i.Delay))
		if i.Jitter != 0 {
			fmt.Fprintf(&b, " %v", tcTime(i.Jitter))
		}
	}
	for _, x := range []struct {
		word string
		p    uint32
	}{{"loss", i.Loss}, {"duplicate", i.Duplicate}, {"reorder", i.Reorder}, {"corrupt", i.Corrupt}} {
		if x.p != 0 {
			fmt.Fprintf(&b, " %s %s%%", x.word, strconv.FormatFloat(Percent(x.p), 'f', -1, 64))
		}
	}
	if i.Rate != 0 {
		fmt.Fprintf(&b, " rate %s", Rate(i.Rate))
	}
	return b.String()
}

// impair plans what becomes of the packets that leave by a link that is there.
func (b *builder) impair(w *Sandbox, f *Iface, k *known, l *rtnl.Link) error {
	if f.Impair == nil {
		return nil // prune takes it away
	}
	have, own := k.QdiscOf(l)
	q := f.Impair.Qdisc(l.Index)
	op := Op{NS: w.Key, Dev: f.Name, Do: NewQdisc{q}, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: DelQdisc{q}}}}
	switch {
	case own && *have == q:
		return nil
	case own && have.Kind == q.Kind:
		op.Do, op.Undo[0].Do = ChangeQdisc{q}, ChangeQdisc{*have}
	case own:
		op.Do, op.Undo[0].Do = ReplaceQdisc{q}, ReplaceQdisc{*have}
	case have != nil:
		return &Problem{Key: w.Key, Dev: f.device(), Kind: Exists, Field: "impair",
			Text: fmt.Sprintf("another program put the queueing discipline %s %x: there, which osl does not touch", have.Kind, have.Handle>>16),
			Away: &Op{NS: w.Key, Dev: l.Name, Do: DelQdisc{*have}}}
	}
	_, changes := op.Do.(ChangeQdisc)
	if !changes && l.TxQLen == 0 {
		op.Undo = append(op.Undo, noQueue(w.Key, f.Name, l.Index))
	}
	b.config = append(b.config, op)
	if !changes && f.hasNoQueue(l) {
		b.config = append(b.config, noQueue(w.Key, f.Name, l.Index))
	}
	return nil
}

// hasNoQueue reports whether the queue of a wanted interface is to have the length 0. l is
// the link that it is or comes from, nil for none.
func (f *Iface) hasNoQueue(l *rtnl.Link) bool {
	if f.TxQLen != nil {
		return *f.TxQLen == 0
	}
	return l != nil && l.TxQLen == 0
}

// noQueue sets the length of a link's queue to 0 again: the kernel takes that for a
// mistake where it puts a queueing discipline at a link, and says 1000.
func noQueue(key, dev string, index int) Op {
	none := 0
	return Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: index, TxQLen: &none}}}
}

// repair plans to take osl's disciplines from the links that stay and are not wanted
// with one.
func (b *builder) repair(w *Sandbox, k *known) {
	for i := range k.Links {
		l := &k.Links[i]
		f := b.wanted[l.Index]
		if have, own := k.QdiscOf(l); own && !b.gone[l.Index] && (f == nil || f.Impair == nil) {
			b.config = append(b.config, unimpaired(w.Key, l, *have))
		}
	}
}

// unimpaired plans to take osl's discipline from a link.
func unimpaired(key string, l *rtnl.Link, q rtnl.Qdisc) Op {
	op := Op{NS: key, Dev: l.Name, Do: DelQdisc{q}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewQdisc{q}}}}
	if l.TxQLen == 0 {
		op.Undo = append(op.Undo, noQueue(key, l.Name, l.Index))
	}
	return op
}

// QdiscOf returns the discipline at the root of a link that is not the kernel's own,
// nil for none, and whether it is osl's.
func (s *State) QdiscOf(l *rtnl.Link) (q *rtnl.Qdisc, own bool) {
	for i := range s.Qdiscs {
		if q := &s.Qdiscs[i]; q.Index == l.Index && q.Handle != 0 {
			return q, q.Osls()
		}
	}
	return nil, false
}

// Percent returns how much of a hundred the kernel's number of a chance is, as exact
// as that.
func Percent(p uint32) float64 { return math.Round(float64(p)/math.MaxUint32*1e8) / 1e6 }

// Rate writes bytes each second as the file and tc do: in bits.
func Rate(bytes uint64) string {
	n, unit := bytes*8, 0
	for n%1000 == 0 && n > 0 && unit < 4 {
		n, unit = n/1000, unit+1
	}
	return strconv.FormatUint(n, 10) + [...]string{"bit", "kbit", "mbit", "gbit", "tbit"}[unit]
}

// tcTime writes a duration as tc does, which knows no minutes and no two units.
func tcTime(d time.Duration) string {
	switch {
	case d%time.Millisecond == 0:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d%time.Microsecond == 0:
		return strconv.FormatInt(d.Microseconds(), 10) + "us"
	}
	return strconv.FormatInt(d.Nanoseconds(), 10) + "ns"
}

// isOtherQdisc reports whether err says that a link has another discipline at its root
// than the one that was to be taken away: the kernel has no number of its own for that.
func isOtherQdisc(err error) bool {
	var e *rtnl.Error
	return errors.As(err, &e) && e.Errno == syscall.EINVAL && e.Text == "Invalid handle"
}
