//go:build linux

package main

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// check compares the kernel with what ADD said that there is.
func check(args *skel.CmdArgs) error {
	c, m, err := loadValid(args)
	if err != nil {
		return err
	}
	if err := c.ask("CHECK", args); err != nil {
		return err
	}
	prev, err := c.prev()
	if err != nil {
		return err
	}
	if prev == nil && c.kind != "loopback" {
		return invalid("Required prevResult missing")
	}
	a, err := open(args, c)
	if err != nil {
		return fail(err)
	}
	defer a.close()
	if c.kind == "loopback" {
		return fail(a.checkLoopback())
	}
	return fail(a.compare(m, prev))
}

// differs is what CHECK says of what is not as it was.
func differs(format string, args ...any) error {
	return types.NewError(types.ErrInternal, "CHECK: "+invalid(format, args...).Error(), "")
}

// kindOf is the type of the link that each kind of attachment makes.
var kindOf = map[string]string{"bridge": "veth", "ptp": "veth", "macvlan": "macvlan", "ipvlan": "ipvlan", "vlan": "vlan", "dummy": "dummy", "tap": "tap"}

func (a *attachment) compare(m *mode, prev *current.Result) error {
	st, err := a.ns.Inspect(a.ctx)
	if err != nil {
		return err
	}
	found := false
	tables := []uint32{0}
	for i, want := range prev.Interfaces {
		var x *osl.InterfaceStatus
		switch {
		case want.Sandbox == a.args.Netns:
			if j := slices.IndexFunc(st.Interfaces, func(x osl.InterfaceStatus) bool { return x.Name == want.Name }); j >= 0 {
				x = &st.Interfaces[j]
			}
		case want.Sandbox == "":
			if x, err = a.host.Interface(a.ctx, want.Name); err != nil && !gone(err) {
				return err
			}
		default:
			continue // of another plugin of the chain
		}
		switch {
		case x == nil:
			return differs("the interface %s is not there", want.Name)
		case want.Mac != "" && want.Mac != x.MAC.String():
			return differs("the interface %s has the hardware address %v, not %s", want.Name, x.MAC, want.Mac)
		}
		if want.Sandbox == "" || want.Name != a.args.IfName {
			continue
		}
		found = true
		switch {
		case x.Note != a.c.owner(a.args):
			return differs("the interface %s is not the one that was made for this attachment", want.Name)
		case kindOf[a.c.kind] != "" && x.Type != kindOf[a.c.kind]:
			return differs("the interface %s is a %s", want.Name, x.Type)
		case a.c.linkMode() != "" && x.Details["mode"] != a.c.linkMode():
			return differs("the interface %s has the mode %s", want.Name, x.Details["mode"])
		case a.c.kind == "vlan" && x.Details["vlan"] != strconv.Itoa(a.c.VLANID):
			return differs("the interface %s is in the VLAN %s", want.Name, x.Details["vlan"])
		case x.Up == a.c.Disabled:
			return differs("the interface %s is down", want.Name)
		}
		if err := a.checkTuning(x); err != nil {
			return err
		}
		if tables, err = a.checkTables(st, x, prev); err != nil {
			return err
		}
		for _, ip := range prev.IPs {
			if ip.Interface != nil && *ip.Interface != i {
				continue
			}
			p, err := prefixOf(ip.Address)
			if err != nil {
				return err
			}
			if a.c.kind == "ptp" {
				p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
			}
			if !has(x.Addresses, p) && !has(x.Aliases, p) {
				return differs("the interface %s has not got the address %v", want.Name, p)
			}
		}
	}
	if !found {
		return differs("prevResult has no interface %s of the namespace %s", a.args.IfName, a.args.Netns)
	}
	for _, r := range prev.Routes {
		if err := a.compareRoute(st, prev, r, tables); err != nil {
			return err
		}
	}
	if m.confirm != nil {
		if err := m.confirm(a, prev); err != nil {
			return err
		}
	}
	return a.checkMasq(prev)
}

// compareRoute looks for a route among those of the namespace, in one of the tables
// unless it says its own.
func (a *attachment) compareRoute(st *osl.Status, prev *current.Result, r *types.Route, tables []uint32) error {
	want, err := routeOf(r, prev)
	if err != nil {
		return err
	}
	switch {
	case want.Table != 0 || a.leftInMain(want, prev):
		tables = []uint32{want.Table}
	case a.replaced(want.To):
		return nil
	}
	is := func(x osl.RouteSpec) bool {
		hop := func(h osl.NextHop) bool { return h.Via.WithZone("") == want.Via }
		return x.To == want.To && slices.Contains(tables, x.Table) && (x.Via.WithZone("") == want.Via && x.NextHops == nil || slices.ContainsFunc(x.NextHops, hop))
	}
	for _, g := range []netip.Addr{st.Gateway, st.Gateway6} {
		if g.IsValid() && is(osl.RouteSpec{To: netip.PrefixFrom(g, 0).Masked(), Via: g}) {
			return nil
		}
	}
	if slices.ContainsFunc(st.Routes, is) || slices.ContainsFunc(st.OtherRoutes, func(x osl.OtherRoute) bool { return is(x.RouteSpec) }) {
		return nil
	}
	for _, x := range st.Interfaces {
		if slices.ContainsFunc(x.Routes, func(p netip.Prefix) bool { return is(osl.RouteSpec{To: p}) }) {
			return nil
		}
	}
	return differs("the route to %v is not there", want.To)
}

// hostEnd reads the host's end of the veth.
func (a *attachment) hostEnd() (*osl.InterfaceStatus, error) {
	end, err := a.host.Interface(a.ctx, a.end)
	if gone(err) {
		err = differs("the host's end %s of the interface is not there", a.end)
	}
	return end, err
}

// confirmBridge looks at the host's end of the veth, and at the bridge.
func confirmBridge(a *attachment, prev *current.Result) error {
	end, err := a.hostEnd()
	switch {
	case err != nil:
		return err
	case end.Master != a.c.BrName:
		return differs("the host's end %s is no port of %s", a.end, a.c.BrName)
	case !end.Up:
		return differs("the host's end %s is down", a.end)
	}
	br, err := a.host.Interface(a.ctx, a.c.BrName)
	switch {
	case gone(err):
		return differs("the bridge %s is not there", a.c.BrName)
	case err != nil:
		return err
	case br.Type != "bridge":
		return differs("%s is no bridge", a.c.BrName)
	case br.Promisc != a.c.PromiscMode:
		return differs("the bridge %s has promiscMode %v", a.c.BrName, br.Promisc)
	}
	if !a.c.IsGW {
		return nil
	}
	if a.c.VLAN != 0 {
		if br, err = a.host.Interface(a.ctx, a.c.vlanLink()); err != nil {
			return differs("the interface %s, the gateway of the vlan, is not there", a.c.vlanLink())
		}
		if port, err := a.host.Interface(a.ctx, a.c.vlanPort()); err == nil && port.Master != a.c.BrName {
			return differs("%s, the other end of %s, is no port of %s", port.Name, br.Name, a.c.BrName)
		}
	}
	for _, ip := range prev.IPs {
		g, ok := addrOf(ip.Gateway)
		p, err := prefixOf(ip.Address)
		if err != nil {
			return err
		}
		if g := netip.PrefixFrom(g, p.Bits()); ok && !has(br.Addresses, g) && !has(br.Aliases, g) {
			return differs("%s has not got the address %v", br.Name, g)
		}
	}
	return nil
}
