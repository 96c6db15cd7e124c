package plan

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
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
}

// moves reports whether the step brings a link home or ends something: what a
// record keeps where there is no room for all.
func (s Step) moves() bool { return s.Home != 0 || s.Gone != 0 || s.End || s.Unpin != "" }

// Request returns the message of a step.
func (s Step) Request() rtnl.Request {
	if s.Gone != 0 {
		return DelLink{s.Gone}.Request(nil)
	}
	return rtnl.Request{Type: s.Type, Flags: s.Flags, Data: s.Data}
}

// IsMessage reports whether the step is a message.
func (s Step) IsMessage() bool { return s.Data != nil || s.Gone != 0 }

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

// The kinds of steps in a record.
const (
	stepMessage = 1
	stepSetting = 2
	stepHome    = 3
	stepGone    = 4
	stepEnd     = 5
	stepUnpin   = 6
	stepOffload = 7
	stepTable   = 8
	stepWG      = 9
)

func (r Record) marshal() []byte {
	var b []byte
	str := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	num := func(n uint64) { b = binary.AppendUvarint(b, n) }
	str(r.Leader)
	num(uint64(len(r.Parts)))
	for _, p := range r.Parts {
		str(p)
	}
	for _, s := range r.Steps {
		switch {
		case s.Home != 0:
			b = append(b, stepHome)
			num(uint64(s.Home))
			str(s.Value)
		case s.End:
			b = append(b, stepEnd)
		case s.Gone != 0:
			b = append(b, stepGone)
			num(uint64(s.Gone))
		case s.Unpin != "":
			b = append(b, stepUnpin)
			str(s.Unpin)
		case s.Table != "":
			b = append(b, stepTable)
			str(s.Table)
			num(uint64(len(s.Masq)))
			for _, m := range s.Masq {
				str(m.Subnet.String())
				str(m.Uplink)
			}
		case s.WireGuard != nil:
			b = append(b, stepWG)
			text, _ := json.Marshal(s.WireGuard) // it has nothing that has no text
			str(string(text))
		case s.Offloads != nil:
			b = append(b, stepOffload)
			num(uint64(s.Index))
			num(uint64(len(s.Offloads)))
			for _, name := range slices.Sorted(maps.Keys(s.Offloads)) {
				str(name)
				num(uint64(b2i(s.Offloads[name])))
			}
		case s.Path != "":
			b = append(b, stepSetting)
			str(s.Path)
			str(s.Value)
			num(uint64(s.Index))
		default:
			b = append(b, stepMessage)
			num(uint64(s.Type))
			num(uint64(s.Flags))
			str(string(s.Data))
		}
	}
	return b
}

// loopback is the index of lo, which neither moves nor goes.
const loopback = 1

var errRecord = errors.New("malformed record")

func (r *Record) unmarshal(b []byte) (err error) {
	num := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b, err = nil, errRecord
			return 0
		}
		b = b[n:]
		return v
	}
	str := func() string {
		n := num()
		if n > uint64(len(b)) {
			b, err = nil, errRecord
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	r.Leader = str()
	for range min(num(), uint64(len(b))) {
		r.Parts = append(r.Parts, str())
	}
	for len(b) > 0 {
		var s Step
		kind := b[0]
		b = b[1:]
		switch kind {
		case stepHome:
			s.Home, s.Value = int(uint32(num())), str()
			if s.Home <= loopback {
				return errRecord
			}
		case stepEnd:
			s.End = true
		case stepGone:
			if s.Gone = int(uint32(num())); s.Gone <= loopback {
				return errRecord
			}
		case stepUnpin:
			if s.Unpin = str(); !filepath.IsAbs(s.Unpin) {
				return errRecord
			}
		case stepTable:
			if s.Table = str(); !strings.HasPrefix(s.Table, tablePrefix) {
				return errRecord
			}
			for range min(num(), uint64(len(b))) {
				p, perr := netip.ParsePrefix(str())
				if perr != nil {
					return errRecord
				}
				s.Masq = append(s.Masq, Masq{p, str()})
			}
		case stepWG:
			s.WireGuard = &rtnl.WGSet{}
			if json.Unmarshal([]byte(str()), s.WireGuard) != nil || s.WireGuard.Index <= loopback {
				return errRecord
			}
		case stepOffload:
			s.Index, s.Offloads = int(uint32(num())), map[string]bool{}
			for range min(num(), uint64(len(b))) {
				s.Offloads[str()] = num() != 0
			}
		case stepSetting:
			s.Path, s.Value, s.Index = str(), str(), int(uint32(num()))
			if !fs.ValidPath(s.Path) || s.Path == "." {
				return errRecord
			}
		case stepMessage:
			s.Type, s.Flags, s.Data = uint16(num()), uint16(num()), []byte(str())
			if !allowed(s) {
				return errRecord
			}
		default:
			return errRecord
		}
		r.Steps = append(r.Steps, s)
	}
	return err
}

// allowed reports whether a message is one that a record may hold: a change of
// what is in the namespace. A record can be written by who has rights inside a
// sandbox only, and is carried out by who has more.
func allowed(s Step) bool {
	switch s.Type {
	case linux.RTM_NEWLINK:
		index, _ := rtnl.Reshapes(s.Data)
		return s.Flags&linux.NLM_F_CREATE == 0 && (index != 0 || rtnl.StaysHere(s.Type, s.Data))
	case linux.RTM_SETLINK, linux.RTM_DELLINK: // VLANs
		return len(s.Data) > 0 && s.Data[0] == linux.AF_BRIDGE && rtnl.StaysHere(s.Type, s.Data)
	case linux.RTM_NEWLINKPROP, linux.RTM_DELLINKPROP:
		return rtnl.StaysHere(linux.RTM_DELLINK, s.Data)
	case linux.RTM_NEWRULE, linux.RTM_DELRULE:
		r, ok := rtnl.ParseRule(s.Data)
		return ok && r.Proto == rtnl.Protocol // osl touches no other
	case linux.RTM_NEWADDR, linux.RTM_DELADDR, linux.RTM_NEWROUTE, linux.RTM_DELROUTE, linux.RTM_NEWNEIGH, linux.RTM_DELNEIGH, linux.RTM_NEWQDISC, linux.RTM_DELQDISC, linux.RTM_NEWMDB, linux.RTM_DELMDB:
		return rtnl.StaysHere(s.Type, s.Data)
	}
	return false
}
