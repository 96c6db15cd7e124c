package plan

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

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
	stepMove    = 10
	stepFar     = 11
	stepIn      = 12
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
		case s.Move != nil:
			b = append(b, stepMove)
			str(s.Move.Key)
			num(uint64(s.Move.Here))
			num(uint64(s.Move.There))
			num(uint64(b2i(s.Move.Back)))
		case s.Far != 0:
			b = append(b, stepFar)
			num(uint64(s.Far))
		case s.In != "":
			b = append(b, stepIn)
			str(s.In)
			num(uint64(s.Type))
			num(uint64(s.Flags))
			str(string(s.Data))
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
		case stepMove:
			m := Move{Key: str(), Here: int(uint32(num())), There: int(uint32(num())), Back: num() != 0}
			if s.Move = &m; !filepath.IsAbs(m.Key) || m.Here <= loopback || m.There <= loopback {
				return errRecord
			}
		case stepFar:
			if s.Far = int(uint32(num())); s.Far <= loopback {
				return errRecord
			}
		case stepIn:
			s.In, s.Type, s.Flags, s.Data = str(), uint16(num()), uint16(num()), []byte(str())
			if index, _ := rtnl.Reshapes(s.Data); !filepath.IsAbs(s.In) || s.Type != linux.RTM_NEWLINK || s.Makes() || index == 0 {
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
		if s.Makes() {
			_, kind := rtnl.Stacks(s.Data)
			return receiver(kind) != "" || kind == "vxlan"
		}
		index, _ := rtnl.Reshapes(s.Data)
		return index != 0 || rtnl.StaysHere(s.Type, s.Data)
	case linux.RTM_SETLINK, linux.RTM_DELLINK: // VLANs
		return len(s.Data) > 0 && s.Data[0] == linux.AF_BRIDGE && rtnl.StaysHere(s.Type, s.Data)
	case linux.RTM_NEWLINKPROP, linux.RTM_DELLINKPROP:
		return rtnl.StaysHere(linux.RTM_DELLINK, s.Data)
	case linux.RTM_NEWRULE, linux.RTM_DELRULE:
		r, ok := rtnl.ParseRule(s.Data)
		return ok && r.Proto == rtnl.Protocol // osl touches no other
	case linux.RTM_NEWADDR, linux.RTM_DELADDR, linux.RTM_NEWROUTE, linux.RTM_DELROUTE, linux.RTM_NEWNEIGH, linux.RTM_DELNEIGH, linux.RTM_NEWQDISC, linux.RTM_DELQDISC, linux.RTM_NEWMDB, linux.RTM_DELMDB, linux.RTM_NEWNEXTHOP, linux.RTM_DELNEXTHOP:
		return rtnl.StaysHere(s.Type, s.Data)
	}
	return false
}
