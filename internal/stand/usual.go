package stand

import (
	"bytes"
	"net"
	"reflect"
	"slices"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// beside returns the settings that are not as usual.
func beside(o rtnl.Options, usual plan.Usual) rtnl.Options {
	for at, value := range usual {
		if o.Is(at, value) {
			o.Drop(at)
		}
	}
	return o
}

// asked is what is to be asked for to have these settings. That addresses are made by a
// secret is not: a Spec does not tell the secret, and so leaves it.
func asked(o *rtnl.Options) want.LinkOptions {
	x := want.LinkOptionsOf(o)
	if x.AddrGenMode == want.BySecret {
		x.AddrGenMode = ""
	}
	return x
}

// made says what an interface is that osl made, where that is not what the kernel makes.
func made(f *want.Iface, l, master *rtnl.Link, tag *plan.Tag, mtu bool, links map[int]*rtnl.Link) {
	kind, ofBond := plan.KindOf(l.Kind), master != nil && master.Kind == "bond"
	if (kind.NoMAC == nil || kind.NoMAC(&l.Data) == "") && !ofBond && !isZero(l.MAC) {
		f.MAC = l.MAC
	}
	switch {
	case l.Kind == "bridge":
		f.MTU = tag.MTU
	case l.MTU != kind.UsualMTU() || mtu:
		f.MTU = l.MTU
	}
	if l.TxQLen != kind.UsualQueue() {
		f.TxQueueLen = &l.TxQLen
	}
	usual := kind.UsualLink()
	if on, known := plan.UsualARP(l, func(index int) *rtnl.Link { return links[index] }); known {
		usual[rtnl.LinkARP] = on
	}
	o := beside(l.Options, usual)
	if plan.IsIPvlan(l.Kind) { // by its mode, as soon as it was up
		o.Drop(rtnl.LinkARP)
	}
	unimplied(&o, &l.Options)
	if kind.NoAddrGen {
		o.Drop(rtnl.LinkAddrGenMode)
	}
	if l.Kind == "bridge" { // it has what its ports allow
		o.Drop(rtnl.LinkGSOMaxSize)
		o.Drop(rtnl.LinkGSOMaxSegs)
		o.Drop(rtnl.LinkGSOIPv4MaxSize)
	}
	f.LinkOptions = asked(&o)
}

// isZero reports whether a bridge has lost its last port, and with it the address that it had
// from that.
func isZero(mac net.HardwareAddr) bool {
	return !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 })
}

// changed says what osl changed of a link that was there before.
func changed(f *want.Iface, l *rtnl.Link, tag *plan.Tag) {
	if len(tag.MAC) > 0 && !bytes.Equal(tag.MAC, l.MAC) {
		f.MAC = l.MAC
	}
	if l.MTU != tag.MTU {
		f.MTU = l.MTU
	}
	if l.TxQLen != tag.TxQLen {
		f.TxQueueLen = &l.TxQLen
	}
	o := l.Options
	for at := range rtnl.LinkOptions {
		if was, noted := tag.Was.Get(at); !noted || o.Is(at, was) {
			o.Drop(at)
		}
	}
	unimplied(&o, &l.Options)
	f.LinkOptions = asked(&o)
}

// unimplied says of the sizes for IPv4 those that a link has not by those for all.
func unimplied(o, have *rtnl.Options) {
	for _, x := range plan.Sizes {
		all, said := o.Get(x.All)
		switch own, known := have.Get(x.IPv4); {
		case !known || !said:
		case own == plan.ImpliedSize(all):
			o.Drop(x.IPv4)
		default:
			o.Set(x.IPv4, own)
		}
	}
}

// bridge says what a bridge is beside what the kernel makes, nil where that is nothing.
func bridge(l *rtnl.Link, vlans map[int][]rtnl.VLAN) *want.Bridge {
	if l.Bridge == nil {
		return nil
	}
	o := beside(*l.Bridge, plan.UsualBridge)
	b := want.BridgeOf(&o, vlans[l.Index])
	b.PVID, b.VLANs = vlansBeside(l.Bridge, b.PVID, b.VLANs)
	if reflect.ValueOf(*b).IsZero() {
		return nil
	}
	return b
}

// bridgePort says what a port of a bridge is beside that.
func bridgePort(l, master *rtnl.Link, vlans map[int][]rtnl.VLAN) *want.BridgePort {
	if l.Port == nil || master == nil {
		return nil
	}
	o := beside(*l.Port, plan.UsualPort)
	if cost, known := l.Port.Get(rtnl.PortCost); known {
		if t, _ := plan.ParseTag(l.Alias); !plan.IsUsualCost(l.Kind, cost) || t.Asked.Cost() && l.Kind != "veth" {
			o.Set(rtnl.PortCost, cost)
		} else {
			o.Drop(rtnl.PortCost)
		}
	}
	p := want.BridgePortOf(&o, vlans[l.Index])
	p.PVID, p.VLANs = vlansBeside(master.Bridge, p.PVID, p.VLANs)
	if reflect.ValueOf(*p).IsZero() {
		return nil
	}
	return p
}

// vlansBeside returns what has to be said of the VLANs of a bridge with these settings,
// or of a port of it, where the kernel makes them the bridge's default.
func vlansBeside(bridge *rtnl.Options, pvid *int, list []want.VLANRange) (*int, []want.VLANRange) {
	if !bridge.Is(rtnl.BridgeVLANFiltering, 1) {
		return nil, nil
	}
	list = slices.DeleteFunc(slices.Clone(list), func(v want.VLANRange) bool {
		return pvid != nil && v == want.VLANRange{First: *pvid, Last: *pvid, Untagged: true}
	})
	usual, _ := bridge.Get(rtnl.BridgeVLANDefaultPVID)
	has := valueOf(pvid)
	if has == int(usual) && len(list) == 0 {
		return nil, nil
	}
	return &has, list
}
