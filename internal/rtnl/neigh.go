package rtnl

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/seed59451c2b/osl/internal/linux"
)

// ndaProtocol is NDA_PROTOCOL of linux/neighbour.h, since Linux 5.2.
const ndaProtocol = 12

// oslsFDB marks the forwarding entries of osl: they have no protocol. The kernel
// takes an entry for permanent that has one of the first two, and keeps all. The bridge
// command and FRR set these two, a vxlan's own remote the first and the last.
const oslsFDB = linux.NUD_PERMANENT | linux.NUD_NOARP | linux.NUD_REACHABLE

// Neigh is a neighbour entry, or with FDB a forwarding entry: of a vxlan, or of a
// bridge, and with MDB a multicast one.
type Neigh struct {
	Index int
	IP    netip.Addr
	MAC   net.HardwareAddr
	Proto uint8
	State uint16 // NUD_*
	FDB   bool
	MDB   bool
	// Bridge is the index of the bridge whose entry it is: Index is that of its port, or
	// its own; 0 for all others.
	Bridge     int
	BridgeName string // for who prints it; the kernel is not told
	VLAN       uint16 // of an entry of a bridge, 0 for none
}

// oslsEntry returns the state and the flags of an entry of a bridge that is osl's.
// They have no protocol either. One of a port is static, and sticky, so that it stays
// where it is; one of the bridge itself is local, and as if something else had
// learned it.
func oslsEntry(n Neigh, flags uint8) (state uint16, with uint8) {
	if n.Index == n.Bridge {
		return linux.NUD_PERMANENT, flags | linux.NTF_EXT_LEARNED
	}
	return linux.NUD_NOARP, flags | linux.NTF_STICKY
}

func (n Neigh) message(room *Room) buffer {
	family := uint8(linux.AF_INET)
	if n.IP.Is6() {
		family = linux.AF_INET6
	}
	var flags uint8
	if n.FDB {
		family, flags = linux.AF_BRIDGE, linux.NTF_SELF
	}
	if n.Bridge != 0 && n.Bridge != n.Index {
		flags = linux.NTF_MASTER
	}
	state := n.State
	if state == 0 {
		state = linux.NUD_PERMANENT
	}
	switch {
	case n.Bridge != 0:
		state, flags = oslsEntry(n, flags)
	case n.FDB && n.Proto == Protocol:
		state = oslsFDB
	}
	b := room.take(64)
	b = append(b, family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(n.Index))
	b = binary.NativeEndian.AppendUint16(b, state)
	b = append(b, flags, 0)
	if n.IP.IsValid() {
		b.ip(linux.NDA_DST, n.IP)
	}
	if n.MAC != nil {
		b.bytes(linux.NDA_LLADDR, n.MAC)
	}
	if n.VLAN != 0 {
		b.u16(linux.NDA_VLAN, n.VLAN)
	}
	return b
}

func (n Neigh) add(room *Room, flags uint16) Request {
	if n.MDB {
		return n.mdb(linux.RTM_NEWMDB, room)
	}
	b := n.message(room)
	if !n.FDB {
		b.u8(ndaProtocol, n.Proto)
	}
	return Request{Type: linux.RTM_NEWNEIGH, Flags: linux.NLM_F_CREATE | flags, Data: b}
}

// NewNeigh returns the request that adds an entry. It fails with EEXIST if
// there is one for the address. Like that of the others, room may be nil.
func NewNeigh(n Neigh, room *Room) Request { return n.add(room, linux.NLM_F_EXCL) }

// ReplaceNeigh returns the request that adds an entry or replaces the one for
// the address. Of those for everybody there may be several.
func ReplaceNeigh(n Neigh) Request {
	if n.ForAll() {
		return n.add(nil, linux.NLM_F_APPEND)
	}
	return n.add(nil, linux.NLM_F_REPLACE)
}

// ForAll reports whether a forwarding entry says where what is for everybody goes,
// and for those of whom nothing is known.
func (n Neigh) ForAll() bool {
	return n.FDB && n.Bridge == 0 && !slices.ContainsFunc(n.MAC, func(b byte) bool { return b != 0 })
}

// HasAsRemote reports whether a forwarding entry is there by the link's own remote.
func (l *Link) HasAsRemote(n Neigh) bool { return n.ForAll() && n.IP == l.Data.Remote }

// DelNeigh returns the request that deletes an entry.
func DelNeigh(n Neigh, room *Room) Request {
	if n.MDB {
		return n.mdb(linux.RTM_DELMDB, room)
	}
	return Request{Type: linux.RTM_DELNEIGH, Data: n.message(room)}
}

// GetNeigh returns the request that reads the entry of an address on a link;
// its answer is ENOENT if there is none. It serves no forwarding entries.
func GetNeigh(index int, ip netip.Addr, n *Neigh) Request {
	b := Neigh{Index: index, IP: ip}.message(nil)
	clear(b[8:12]) // a request may name no state
	return Request{Type: linux.RTM_GETNEIGH, Data: b, Reply: func(p []byte) { *n, _ = ParseNeigh(p) }}
}

// AllNeighs returns the request that lists the neighbours of both families.
func AllNeighs() Request { return Request{Type: linux.RTM_GETNEIGH, Data: make([]byte, 12)} }

// AllFDB returns the request that lists the forwarding entries of one link.
func AllFDB(index int) Request {
	b := make([]byte, 12)
	b[0] = linux.AF_BRIDGE
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return Request{Type: linux.RTM_GETNEIGH, Data: b}
}

// ParseNeigh decodes the payload of an RTM_NEWNEIGH.
func ParseNeigh(p []byte) (n Neigh, ok bool) {
	if len(p) < 12 {
		return n, false
	}
	n.FDB = p[0] == linux.AF_BRIDGE
	n.Index = int(getU32(p[4:]))
	n.State = getU16(p[8:])
	for t, v := range attrs(p[12:]) {
		switch t {
		case linux.NDA_DST:
			n.IP, _ = netip.AddrFromSlice(v)
		case linux.NDA_LLADDR:
			n.MAC = append(net.HardwareAddr(nil), v...)
		case ndaProtocol:
			n.Proto = getU8(v)
		case linux.NDA_MASTER:
			n.Bridge = int(getU32(v))
		case linux.NDA_VLAN:
			n.VLAN = getU16(v)
		}
	}
	if n.FDB && n.Bridge != 0 {
		state, flags := oslsEntry(n, 0)
		if n.State == state && p[10]&(linux.NTF_STICKY|linux.NTF_EXT_LEARNED) == flags {
			n.Proto = Protocol
		}
		return n, true
	}
	if n.FDB && n.State == oslsFDB {
		n.Proto = Protocol
	}
	return n, n.IP.IsValid()
}

// NoTable reports whether a dump failed because the kernel has no such
// table at all: no IPv6, or no route was ever made in a fresh namespace.
func NoTable(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EOPNOTSUPP)
}
