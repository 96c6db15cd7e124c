package want

import (
	"bytes"
	"strconv"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// plan checks a neighbor, or a forwarding entry, of a sandbox that is described.
func (x *Neigh) plan() (plan.Neigh, error) {
	n, err := ToNeigh(*x)
	if err == nil && x.Dev == "" {
		err = where.In("dev", "", fault.Invalidf("a neighbor needs dev"))
	}
	return n, err
}

// neighbors are the entries of a sandbox, of which no two say different things of one
// address.
func (s *Sandbox) neighbors(w *plan.Sandbox) error {
	type address struct{ dev, what string }
	said := map[address]int{}
	for i, x := range s.Neighbors {
		n, err := x.plan()
		if err != nil {
			return where.In("neighbors", strconv.Itoa(i), err)
		}
		w.Neighs = append(w.Neighs, n)
		at := address{n.Dev, n.IP.String()}
		switch {
		case n.OfBridge: // where those are, the plan knows
			continue
		case n.FDB && (n.MAC[0]&1 != 0 || bytes.Equal(n.MAC, make([]byte, 6))):
			continue // for everybody, or several
		case n.FDB:
			at.what = n.MAC.String()
		}
		if first, twice := said[at]; !twice {
			said[at] = i
		} else if o := w.Neighs[first]; o.IP != n.IP || !bytes.Equal(o.MAC, n.MAC) {
			return where.In("neighbors", strconv.Itoa(i), where.BesideIn("neighbors", strconv.Itoa(first),
				fault.Invalidf("another entry of %s says something else of %s", n.Dev, at.what)))
		}
	}
	return nil
}

// ToNeigh checks a neighbor, or a forwarding entry, and turns it into one of osl, whose
// device is a name.
func ToNeigh(x Neigh) (plan.Neigh, error) {
	n := plan.Neigh{Dev: x.Dev, OfBridge: x.MDB || x.FDB && !x.IP.IsValid(),
		Neigh: rtnl.Neigh{IP: x.IP.Unmap(), MAC: x.MAC, Proto: rtnl.Protocol, FDB: x.FDB || x.MDB, MDB: x.MDB}}
	isMAC := len(x.MAC) == 6
	switch {
	case x.IP.Zone() != "":
		return n, where.In("ip", "", fault.Invalidf("ip is %v: write it without %%%s, since dev says the link", x.IP, x.IP.Zone()))
	case x.VLAN != 0 && !n.OfBridge:
		return n, where.In("vlan", "", fault.Invalidf("vlan means nothing for it: only an entry of a bridge has one"))
	case x.VLAN < 0 || x.VLAN > rtnl.MaxVLAN:
		return n, where.In("vlan", "", fault.Invalidf("the VLAN %d is none: it is 1 to %d", x.VLAN, rtnl.MaxVLAN))
	case x.FDB && x.MDB:
		return n, where.In("mdb", "", fault.Invalidf("it is a forwarding entry (fdb) or a multicast one (mdb), not both"))
	case x.MAC != nil && !isMAC:
	case x.MDB && x.IP.IsValid() && x.MAC == nil && x.IP.IsMulticast(), x.MDB && !x.IP.IsValid() && isMAC && x.MAC[0]&1 != 0:
		n.VLAN = uint16(x.VLAN)
		return n, nil
	case x.MDB:
		return n, fault.Invalidf("a multicast entry is of a group: ip is that, or mac where it has none")
	case n.OfBridge && isMAC && x.MAC[0]&1 != 0:
		return n, where.In("mac", "", fault.Invalidf("%v is the hardware address of a multicast: write mdb for that", x.MAC))
	case n.OfBridge && isMAC:
		n.VLAN = uint16(x.VLAN)
		return n, nil
	case x.IP.IsValid() && isMAC:
		return n, nil
	}
	return n, fault.Invalidf("a neighbor needs ip and mac, six bytes of it")
}

// NeighOf says what a neighbor or a forwarding entry is, on the device dev.
func NeighOf(n rtnl.Neigh, dev string) Neigh {
	return Neigh{Dev: dev, IP: n.IP, MAC: n.MAC, FDB: n.FDB && !n.MDB, MDB: n.MDB, VLAN: int(n.VLAN)}
}
