package want

import (
	"crypto/sha256"
	"net"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/where"
)

// MACPolicies are what an interface may say of where its hardware address comes from.
var MACPolicies = []string{persistent, "none"}

const persistent = "persistent"

func (s *Iface) checkMACPolicy() error {
	switch s.MACPolicy {
	case "", persistent, "none":
		return nil
	}
	return where.In("mac_policy", "", fault.Invalidf("mac_policy %q is not persistent or none%s", s.MACPolicy, near.Hint(s.MACPolicy, MACPolicies)))
}

// giveMACs gives the links that are made, that may have a hardware address of their own, and
// that ask for one by their names, that. A vlan has its parent's, which is one by that one's name.
func (net *Network) giveMACs(k Keys, want []plan.Sandbox) error {
	for i := range net.Sandboxes {
		for j := range net.Sandboxes[i].Interfaces {
			f := &want[i].Ifaces[j] // in their order, and before those that only links name
			if net.Sandboxes[i].Interfaces[j].MACPolicy != persistent {
				continue
			}
			if net.Name == "" {
				return fault.At(k.at(want[i].Key), f.Name, where.In("mac_policy", "", fault.Invalidf("persistent is by the name of the interface's network, and that has none: write a mac")))
			}
			kind := plan.KindOf(f.Kind)
			if f.MAC != nil || kind.Name == "" || kind.Name == "vlan" || kind.NoMAC != nil && kind.NoMAC(&f.Data) != "" {
				continue
			}
			if m := want[i].Iface(f.Master); m != nil && m.Kind == "bond" {
				continue
			}
			sandbox := HostName
			if want[i].Key != plan.HostNS {
				sandbox = k.Name(want[i].Key)
			}
			f.MAC = macOf(net.Name, sandbox, f.Name)
		}
	}
	return nil
}

// macOf is the hardware address of an interface by its name: locally administered, of one
// station, and the same on every machine.
func macOf(network, sandbox, iface string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(network + "/" + sandbox + "/" + iface))
	return plan.LocalMAC(sum[:])
}
