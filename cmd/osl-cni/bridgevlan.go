//go:build linux

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/seed59451c2b/osl"
)

// vlanLink is the name of the host's interface in the VLAN of the bridge.
func (c *conf) vlanLink() string { return fmt.Sprintf("%s.%d", c.BrName, c.VLAN) }

// vlanPort is the name of its other end, the port of the bridge.
func (c *conf) vlanPort() string {
	h := sha256.Sum256([]byte(c.vlanLink()))
	return fmt.Sprintf("veth%x", h[:4])
}

// vlanGateway finds the interface by which the host is in the VLAN of the bridge, or makes
// it, with the addresses of the gateways: a veth whose other end is a port of the bridge. It
// stays, as the bridge does, and is a change of its own.
func (a *attachment) vlanGateway(gateways []netip.Prefix) (*osl.InterfaceStatus, error) {
	name, note := a.c.vlanLink(), strings.TrimSpace(a.c.owners())
	port := osl.InterfaceSpec{Name: a.c.vlanPort(), Master: a.c.BrName, BridgePort: (&conf{bridgeConf: bridgeConf{VLAN: a.c.VLAN, PreserveDefaultVLAN: a.c.PreserveDefaultVLAN}}).port(), Note: note}
	for range 100 {
		x, err := a.host.Interface(a.ctx, name)
		switch {
		case errors.Is(err, osl.ErrNotFound):
		case err != nil:
			return nil, err
		case x.UnderWay: // settled by who takes the host's lock
			if err := osl.RecoverHost(a.ctx); err != nil {
				return nil, err
			}
			continue
		case x.Type != "veth":
			return nil, invalid("%q already exists but is not a veth", name)
		default:
			// The bridge may be another one since, which has lost its ports.
			p, err := a.host.Interface(a.ctx, port.Name)
			if err == nil && p.Master != a.c.BrName {
				err = osl.Add(a.ctx, osl.Network{Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{port}}}})
			}
			if err != nil && !gone(err) { // another program's has no such port
				return nil, fmt.Errorf("make the gateway of the vlan a port again: %w", err)
			}
			return x, a.address(x, gateways)
		}
		err = osl.Add(a.ctx, osl.Network{
			Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{port, {Name: name, MTU: a.c.MTU, Aliases: gateways, Sysctls: hostSysctls(), Note: note}}}},
			Links:     []osl.Link{{{Sandbox: osl.HostName, Interface: name}, {Sandbox: osl.HostName, Interface: port.Name}}},
		})
		if err != nil && !errors.Is(err, osl.ErrNameInUse) {
			return nil, fmt.Errorf("make the gateway of the vlan: %w", err)
		}
	}
	return nil, types.NewError(types.ErrTryAgainLater, fmt.Sprintf("the interface %q comes and goes", name), "")
}
