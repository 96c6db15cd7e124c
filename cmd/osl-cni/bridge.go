//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// bridgeConf are the keys of the bridge plugin.
type bridgeConf struct {
	BrName              string      `json:"bridge"`
	IsGW                bool        `json:"isGateway"`
	IsDefaultGW         bool        `json:"isDefaultGateway"`
	ForceAddress        bool        `json:"forceAddress"`
	Hairpin             bool        `json:"hairpinMode"`
	PromiscMode         bool        `json:"promiscMode"`
	VLAN                int         `json:"vlan"`
	VLANTrunk           []vlanTrunk `json:"vlanTrunk"`
	PreserveDefaultVLAN bool        `json:"preserveDefaultVlan"`
	MACSpoofCheck       bool        `json:"macspoofchk"`
	EnableDAD           bool        `json:"enabledad"`
	Disabled            bool        `json:"disableContainerInterface"`
	Isolated            bool        `json:"portIsolation"`
}

type vlanTrunk struct {
	MinID *int `json:"minID"`
	MaxID *int `json:"maxID"`
	ID    *int `json:"id"`
}

var bridgeMode = &mode{masq: true, valid: validBridge, plan: planBridge, confirm: confirmBridge}

func validBridge(c *conf) error {
	if c.BrName == "" {
		c.BrName = "cni0"
	}
	c.IsGW = c.IsGW || c.IsDefaultGW
	switch {
	case c.IPAM.Type != "" && c.Disabled:
		return invalid("cannot use IPAM when DisableContainerInterface flag is set")
	case c.Hairpin && c.PromiscMode:
		return invalid("cannot set hairpin mode and promiscuous mode at the same time")
	case c.VLAN < 0 || c.VLAN > 4094:
		return invalid("invalid VLAN ID %d (must be between 0 and 4094)", c.VLAN)
	case c.VLAN != 0 && c.IsGW && len(c.vlanLink()) > 15:
		return invalid("the gateway of the vlan is the interface %s, whose name is longer than 15 bytes: choose a shorter one for the bridge", c.vlanLink())
	case c.EnableDAD:
		return lacking("enabledad")
	case c.MACSpoofCheck:
		return lacking("macspoofchk")
	}
	if err := c.validMasq(); err != nil {
		return err
	}
	for _, t := range c.VLANTrunk {
		if err := t.valid(); err != nil {
			return err
		}
	}
	return nil
}

func (t vlanTrunk) valid() error {
	for _, x := range []struct {
		name string
		id   *int
	}{{"minID", t.MinID}, {"maxID", t.MaxID}, {"id", t.ID}} {
		if x.id != nil && (*x.id < 1 || *x.id > 4094) {
			return invalid("incorrect trunk %s parameter", x.name)
		}
	}
	switch {
	case t.MinID == nil && t.MaxID != nil:
		return invalid("minID and maxID should be configured simultaneously, minID is missing")
	case t.MinID != nil && t.MaxID == nil:
		return invalid("minID and maxID should be configured simultaneously, maxID is missing")
	case t.MinID != nil && *t.MinID > *t.MaxID:
		return invalid("minID is greater than maxID in trunk parameter")
	}
	return nil
}

// port is what the host's end is to be as a port of the bridge.
func (c *conf) port() *osl.BridgePortSpec {
	var p osl.BridgePortSpec
	if c.Hairpin {
		p.Hairpin = &c.Hairpin
	}
	if c.Isolated {
		p.Isolated = &c.Isolated
	}
	untagged := map[int]bool{}
	switch native := 1; {
	case c.VLAN != 0:
		p.PVID, untagged[c.VLAN] = &c.VLAN, true
	case c.VLANTrunk != nil:
		p.PVID, untagged[native] = &native, true
	}
	if p.PVID != nil && c.PreserveDefaultVLAN {
		untagged[1] = true
	}
	for id := range untagged {
		p.VLANs = append(p.VLANs, osl.VLANRange{First: id, Last: id, Untagged: true})
	}
	for _, t := range c.VLANTrunk {
		if t.MinID != nil {
			p.VLANs = append(p.VLANs, osl.VLANRange{First: *t.MinID, Last: *t.MaxID})
		}
		if t.ID != nil {
			p.VLANs = append(p.VLANs, osl.VLANRange{First: *t.ID, Last: *t.ID})
		}
	}
	return &p
}

// planBridge puts the container on a bridge of the host, which it makes where there
// is none. The bridge stays when the last container goes.
func planBridge(a *attachment, lease *current.Result) (net osl.Network, err error) {
	gateways, err := a.gateways(lease)
	if err != nil {
		return net, err
	}
	ofBridge := gateways
	if a.c.VLAN != 0 {
		ofBridge = nil
	}
	br, err := a.bridge(ofBridge)
	if err != nil {
		return net, err
	}
	var inVLAN *osl.InterfaceStatus
	if a.c.VLAN != 0 && len(gateways) > 0 {
		if inVLAN, err = a.vlanGateway(gateways); err != nil {
			return net, err
		}
	}
	if err := a.forward(gateways); err != nil {
		return net, err
	}
	f, err := a.iface("veth", lease)
	if err != nil {
		return net, err
	}
	if a.result.Interfaces == nil {
		if f.MAC == nil {
			f.MAC = osl.MAC(newMAC())
		}
		mac := newMAC()
		a.result.Interfaces = []*current.Interface{{Name: br.Name, Mac: br.MAC.String()}, {Name: a.end, Mac: mac.String()}}
		net = a.veth(osl.InterfaceSpec{Name: a.end, Type: "veth", MAC: osl.MAC(mac), Master: br.Name, BridgePort: a.c.port(), Note: f.Note})
		a.inContainer(([]byte)(f.MAC), lease)
	}
	if inVLAN != nil && len(a.result.Interfaces) == 3 {
		a.result.Interfaces = append(a.result.Interfaces, &current.Interface{Name: inVLAN.Name, Mac: inVLAN.MAC.String()})
	}
	for _, ip := range lease.IPs {
		ip.Interface = current.Int(2)
	}
	f.Down = a.c.Disabled
	s, err := a.sandbox(f, lease)
	net.Sandboxes = append(net.Sandboxes, s)
	return net, err
}

// veth begins a network with the host's end of the container's interface.
func (a *attachment) veth(end osl.InterfaceSpec) osl.Network {
	return osl.Network{
		Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{end}}},
		Links:     []osl.Link{{{Sandbox: a.args.Netns, Interface: a.args.IfName}, {Sandbox: osl.HostName, Interface: end.Name}}},
	}
}

// gateways completes a lease with the gateways that the bridge is to be, and the
// routes through them, and returns them.
func (a *attachment) gateways(lease *current.Result) (list []netip.Prefix, err error) {
	for _, ip := range lease.IPs {
		p, err := prefixOf(ip.Address)
		if err != nil {
			return nil, err
		}
		if ip.Gateway == nil && a.c.IsGW {
			ip.Gateway = p.Masked().Addr().Next().AsSlice()
		}
		if a.c.IsDefaultGW {
			all := net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
			if p.Addr().Is6() {
				all = net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
			}
			if !slices.ContainsFunc(lease.Routes, func(r *types.Route) bool { return r.GW != nil && r.Dst.String() == all.String() }) {
				lease.Routes = append(lease.Routes, &types.Route{Dst: all, GW: ip.Gateway})
			}
		}
		if g, ok := addrOf(ip.Gateway); ok && a.c.IsGW {
			list = append(list, netip.PrefixFrom(g, p.Bits()))
		}
	}
	return list, nil
}

// bridge finds the bridge, or makes it, with the addresses of the gateways. This is a
// change of its own: the bridge is there for others as soon as it is whole.
func (a *attachment) bridge(gateways []netip.Prefix) (*osl.InterfaceStatus, error) {
	name := a.c.BrName
	for range 100 {
		br, err := a.host.Interface(a.ctx, name)
		switch {
		case errors.Is(err, osl.ErrNotFound):
		case err != nil:
			return nil, err
		case br.Type != "bridge":
			return nil, invalid("%q already exists but is not a bridge", name)
		case br.UnderWay: // settled by who takes the host's lock
			if err := osl.RecoverHost(a.ctx); err != nil {
				return nil, err
			}
			continue
		case br.Origin == "" && a.c.IsGW && a.c.VLAN == 0:
			return a.takeOver(br, gateways)
		case a.c.PromiscMode && !br.Promisc:
			if err := a.host.AddLink(a.ctx, osl.InterfaceSpec{Name: name, Promisc: &a.c.PromiscMode}); err != nil {
				return nil, err
			}
			continue
		default:
			return br, a.address(br, gateways)
		}
		// Its MTU is that of its ports: one that is set it would keep, whatever they get.
		f := osl.InterfaceSpec{Name: name, Type: "bridge", Aliases: gateways, Sysctls: hostSysctls(), Note: strings.TrimSpace(a.c.owners())}
		if a.c.PromiscMode {
			f.Promisc = &a.c.PromiscMode
		}
		if filters := a.c.VLAN != 0 || a.c.VLANTrunk != nil; filters {
			f.Bridge = &osl.BridgeSpec{VLANFiltering: &filters}
		}
		err = a.host.AddLink(a.ctx, f)
		if err != nil && !errors.Is(err, osl.ErrNameInUse) {
			return nil, fmt.Errorf("make the bridge: %w", err)
		}
	}
	return nil, types.NewError(types.ErrTryAgainLater, fmt.Sprintf("the bridge %q comes and goes", name), "")
}

// hostSysctls are the settings of what the host has towards containers: none of them is its
// router.
func hostSysctls() map[string]string {
	s := map[string]string{"ipv6.accept_ra": "0"}
	if setting("ipv6/conf/default/disable_ipv6") == "0" {
		s["ipv6.disable_ipv6"] = "0"
	}
	return s
}

// takeOver makes a bridge that another program made the gateway. It keeps its hardware
// address from then on, whatever ports come and go.
func (a *attachment) takeOver(br *osl.InterfaceStatus, gateways []netip.Prefix) (*osl.InterfaceStatus, error) {
	if err := a.address(br, gateways); err != nil {
		return nil, err
	}
	f := osl.InterfaceSpec{Name: br.Name, MAC: br.MAC, Note: strings.TrimSpace(a.c.owners())}
	if !slices.ContainsFunc(br.MAC, func(b byte) bool { return b != 0 }) { // it lost its last port
		f.MAC = osl.MAC(newMAC())
	}
	if off := setting("ipv6/conf/" + br.Name + "/disable_ipv6"); off != "" {
		f.Sysctls = map[string]string{"ipv6.disable_ipv6": off}
	}
	if err := a.host.AddLink(a.ctx, f); err != nil {
		return nil, err
	}
	return a.host.Interface(a.ctx, br.Name)
}

// setting reads a setting of the host, empty if there is none.
func setting(name string) string {
	b, _ := os.ReadFile("/proc/sys/net/" + name)
	return strings.TrimSpace(string(b))
}

// address gives a bridge that is there the addresses of the gateways that it lacks.
// Where it has another one in the place it is refused, or taken away with
// forceAddress.
func (a *attachment) address(br *osl.InterfaceStatus, gateways []netip.Prefix) error {
	have := slices.Concat(br.Addresses, br.Aliases)
	var lack, away []netip.Prefix
	for _, g := range gateways {
		if slices.Contains(have, g) {
			continue
		}
		lack = append(lack, g)
		for _, h := range have {
			if h.Addr().Is4() != g.Addr().Is4() || h.Addr().Is6() && !h.Overlaps(g) || slices.Contains(gateways, h) {
				continue
			}
			if !a.c.ForceAddress {
				return invalid("%q already has an IP address different from %v: %v; forceAddress replaces it", br.Name, g, h)
			}
			away = append(away, h)
		}
	}
	if len(away) > 0 {
		if err := a.host.RemoveAddresses(a.ctx, br.Name, slices.Values(away)); err != nil {
			return err
		}
	}
	if len(lack) == 0 {
		return nil
	}
	return a.host.AddAddresses(a.ctx, br.Name, slices.Values(lack))
}

// forward makes the host forward packets of the families of the gateways. It is a
// setting of the machine's, which stays.
func (a *attachment) forward(gateways []netip.Prefix) error {
	lack := map[string]string{}
	for _, g := range gateways {
		name := "ipv6/conf/all/forwarding"
		if g.Addr().Is4() {
			name = "ipv4/ip_forward"
		}
		if setting(name) != "1" {
			lack[name] = "1"
		}
	}
	if len(lack) == 0 {
		return nil
	}
	return osl.Add(a.ctx, osl.Network{Sandboxes: []osl.Spec{{Name: osl.HostName, Sysctls: lack}}})
}
