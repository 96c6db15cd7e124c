package want

import (
	"cmp"
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// together refuses what one interface says and another one decides.
func together(w *plan.Sandbox) error {
	ports := map[uint16]string{} // of wireguards
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		field, err := ofBond(f, w.Iface(f.Master))
		if g := f.WireGuard; g != nil && g.ListenPort != 0 {
			if first, taken := ports[g.ListenPort]; taken {
				field, err = "wireguard.listen_port", fault.Invalidf("the port %d is that of %s already", g.ListenPort, first)
			}
			ports[g.ListenPort] = f.Name
		}
		if err != nil {
			return fault.At("", f.Name, where.In(field, "", err))
		}
	}
	return nil
}

// ofBond refuses what a port of a bond has from that.
func ofBond(f, bond *plan.Iface) (field string, err error) {
	switch {
	case bond == nil || bond.Kind != "bond":
	case f.MAC != nil:
		return "mac", fault.Invalidf("a port of a bond has the hardware address of that")
	case f.MTU != 0 && f.MTU != cmp.Or(bond.MTU, 1500):
		return "mtu", fault.Invalidf("a port of a bond has the MTU of that, %d", cmp.Or(bond.MTU, 1500))
	case f.Down:
		return "down", fault.Invalidf("a bond sets its ports up")
	}
	return "", nil
}

// remotes are the entries of a vxlan for its other ends.
func (s *Iface) remotes() (list []plan.Neigh, err error) {
	if len(s.Kind.Remotes) == 0 {
		return nil, nil
	}
	switch {
	case s.Type != "vxlan":
		return nil, fault.Invalidf("remotes means nothing for it: only a vxlan has them")
	case s.Kind.Remote.IsValid():
		return nil, fault.Invalidf("it has a remote and remotes: write all in remotes")
	}
	seen := map[netip.Addr]bool{}
	for _, ip := range s.Kind.Remotes {
		switch {
		case !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4In6() || ip.Zone() != "":
			return nil, fault.Invalidf("%v is no address of another end", ip)
		case s.Kind.Local.IsValid() && s.Kind.Local.Is4() != ip.Is4():
			return nil, fault.Invalidf("%v is not of the family of local, %v", ip, s.Kind.Local)
		case !s.Kind.Local.IsValid() && ip.Is6():
			return nil, fault.Invalidf("a vxlan with remotes of IPv6 needs a local address of that")
		case seen[ip]:
			return nil, fault.Invalidf("%v is there twice", ip)
		}
		seen[ip] = true
		list = append(list, plan.Neigh{Dev: s.Name, Neigh: rtnl.Neigh{IP: ip, MAC: make(net.HardwareAddr, 6), FDB: true}})
	}
	return list, nil
}
