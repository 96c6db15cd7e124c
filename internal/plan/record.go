package plan

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Record is what a change that takes several steps notes in each namespace
// that it touches, before it touches it, so that whoever finds the change
// interrupted can take it back or finish it. Records are alternative names of
// lo: the kernel keeps them with the namespace, as many and as long as are
// needed. Its steps are done in its own namespace and nowhere else, where who
// could write it may do all of it anyway.
type Record struct {
	Role Role
	ID   string // of the change
	// Leader is the key of the namespace whose undo record decides: while it is
	// there, the change has not happened. Empty in the leader's own.
	Leader string
	// Parts are the keys of the other namespaces with records of the change. The
	// leader puts them back before itself.
	Parts []string
	Steps []Step
}

// Role says what a record is for.
type Role byte

const (
	Undo Role = 'u' // the steps take the change back
	Redo Role = 'r' // the steps are what is left to do once it has happened

	// These are of no change; they stay.
	AtKey  Role = 'k' // Parts are a key where osl pinned this namespace, where it was found, and its owner if it has one
	Found  Role = 'f' // the steps make the namespace what it was before the first such key
	OnHost Role = 'o' // Parts are the name of a network, the steps make settings of the host what they were before it
	Of     Role = 'n' // Parts are the name of the network that it is of, where another made it
)

// IsNote tells the roles of records that say how a namespace came to osl from
// those of changes.
func (r Role) IsNote() bool { return r == AtKey || r == Found || r == Of || r == OnHost }

// Step is one step of a record: a message, a setting, a link to bring home or one
// to delete.
type Step struct {
	Type, Flags uint16
	Data        []byte
	// Path is a setting below /proc/sys/net. A %s stands for the name of the
	// link Index.
	Path, Value string
	Index       int
	// Home is the index of a link that goes back to the host, by its tag. Value is
	// what that says, for a link that has none yet.
	Home int
	// Gone is the index of a link that is deleted.
	Gone int
	// End says that the sandbox itself ends.
	End bool
	// Offloads are those of the link Index, by the kernel's names.
	Offloads map[string]bool
	// WireGuard is what is changed of a wireguard link.
	WireGuard *rtnl.WGSet
	// Table is one of osl's of nftables, which is to have what Masq says.
	Table string
	Masq  []Masq
	// Unpin is a key of this namespace that osl pinned, and that is taken away.
	Unpin string
	// Far is the index of a link of which the record of the host has what is done: a step
	// with this namespace as In. A sandbox's own record says nothing of a tunnel there.
	Far int
	In  string
	// Move takes a link back into the sandbox that it left for another one.
	Move *Move
}

// moves reports whether the step brings a link where it was, or ends something: what a
// record keeps where there is no room for all.
func (s Step) moves() bool {
	return s.Home != 0 || s.Gone != 0 || s.End || s.Unpin != "" || s.Move != nil || s.Makes()
}

// WantsCarrier reports whether a step makes a next hop that is an object, for which a
// link needs a carrier: its other end may be in another sandbox.
func (s Step) WantsCarrier() bool { return s.Type == linux.RTM_NEWNEXTHOP }

// Request returns the message of a step.
func (s Step) Request() rtnl.Request {
	if s.Gone != 0 {
		return DelLink{s.Gone}.Request(nil)
	}
	return rtnl.Request{Type: s.Type, Flags: s.Flags, Data: s.Data}
}

// IsMessage reports whether the step is a message to the record's own namespace.
func (s Step) IsMessage() bool { return s.Data != nil && s.In == "" || s.Gone != 0 }

const (
	recordPrefix = "osl1."
	maxAltName   = 127 // ALTIFNAMSIZ of linux/if.h without the closing NUL
	chunk        = 100 // of the text in one name, beside some 25 bytes that say where it belongs
	// maxNames keeps what a dump says of lo far below the size of its buffers.
	maxNames = 150
	// maxRecord bounds what a record is unpacked to.
	maxRecord = 1 << 20
)

// Names returns the alternative names that hold the record; ok is false where
// it is too long for them.
func (r Record) Names() (names []string, ok bool) {
	b := r.marshal()
	if len(b) > maxRecord {
		return nil, false
	}
	text := base64.RawURLEncoding.EncodeToString(pack(b))
	total := (len(text) + chunk - 1) / chunk
	if total > maxNames {
		return nil, false
	}
	for i := range total {
		part := text[i*chunk : min((i+1)*chunk, len(text))]
		names = append(names, fmt.Sprintf("%s%c.%s.%d.%d.%s", recordPrefix, r.Role, r.ID, i, total, part))
	}
	return names, true
}

// packers are kept: making one takes longer than most changes.
var packers = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.DefaultCompression) // the level is a valid one
	return w
}}

// small is the size up to which packing costs more than the names that it saves.
const small = 400

// pack compresses b, or makes it a block of DEFLATE that is stored as it is.
func pack(b []byte) []byte {
	if n := uint16(len(b)); len(b) <= small {
		return append([]byte{1, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)}, b...)
	}
	var to bytes.Buffer
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	w.Reset(&to)
	_, _ = w.Write(b) // a bytes.Buffer takes all
	_ = w.Close()
	return to.Bytes()
}

// IsRecord reports whether an alternative name is part of a record of a change.
func IsRecord(name string) bool {
	rest, ok := strings.CutPrefix(name, recordPrefix)
	return ok && (rest == "" || !Role(rest[0]).IsNote())
}

// Noted is a record as it was found. One that is not whole was being written
// or taken away, either in the middle of a send, and counts as not there: before
// it was whole nothing was changed, and once it began to go all was done.
type Noted struct {
	Record
	Names []string
	Whole bool
}

// Ends reports whether the sandbox itself is to end.
func (n Noted) Ends() bool { return slices.ContainsFunc(n.Steps, func(s Step) bool { return s.End }) }

// ParseRecords finds the records in the alternative names of a lo.
func ParseRecords(names []string) (list []Noted) {
	type id struct{ role, id string }
	at := map[id]int{}
	parts := map[id]map[int]string{}
	totals := map[id]int{}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, recordPrefix)
		if !ok {
			continue
		}
		f := strings.SplitN(rest, ".", 5)
		if len(f) != 5 {
			f = []string{"", "", "", "", ""} // of nobody's: only to be taken away
		}
		key := id{f[0], f[1]}
		if _, ok := at[key]; !ok {
			at[key], parts[key] = len(list), map[int]string{}
			list = append(list, Noted{})
		}
		list[at[key]].Names = append(list[at[key]].Names, name)
		i, err := strconv.Atoi(f[2])
		n, nerr := strconv.Atoi(f[3])
		if err != nil || nerr != nil || i < 0 || i >= n || n > maxNames || totals[key] != 0 && totals[key] != n {
			continue
		}
		totals[key], parts[key][i] = n, f[4]
	}
	for key, i := range at {
		var text strings.Builder
		for j := range totals[key] {
			text.WriteString(parts[key][j])
		}
		if !slices.Contains(roles, key.role) || totals[key] == 0 || len(parts[key]) != totals[key] {
			continue
		}
		r, err := unpack(text.String())
		if err != nil {
			continue
		}
		r.Role, r.ID = Role(key.role[0]), key.id
		list[i].Record, list[i].Whole = r, true
	}
	return list
}

var roles = []string{string(Undo), string(Redo), string(AtKey), string(Found), string(Of), string(OnHost)}

func unpack(text string) (r Record, err error) {
	b, err := unpacked(text, maxRecord)
	if err != nil {
		return r, err
	}
	return r, r.unmarshal(b)
}

// unpacked returns what pack packed, up to a limit.
func unpacked(text string, limit int64) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), limit))
}

// loopback is the index of lo, which neither moves nor goes.
const loopback = 1
