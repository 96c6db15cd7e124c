package stand

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// What the kernel makes of a link for which nothing else is asked, where plan.Kinds does
// not say otherwise.
const (
	usualMTU   = 1500
	usualQueue = 1000
)

// settings are values of rtnl.Options, by their places.
type settings map[int]uint32

// What the kernel makes of a bridge, and of a port. The cost of a port is by its speed.
var (
	usualBridge = settings{rtnl.BridgeVLANFiltering: 0, rtnl.BridgeVLANProtocol: plan.VLANProtocols["802.1Q"], rtnl.BridgeVLANDefaultPVID: 1,
		rtnl.BridgeSTP: 0, rtnl.BridgePriority: 32768, rtnl.BridgeAgeingTime: 300_00, rtnl.BridgeForwardDelay: 15_00,
		rtnl.BridgeHelloTime: 2_00, rtnl.BridgeMaxAge: 20_00, rtnl.BridgeMulticastSnooping: 1, rtnl.BridgeMulticastQuerier: 0}
	usualPort = settings{rtnl.PortLearning: 1, rtnl.PortFlood: 1, rtnl.PortMulticastFlood: 1, rtnl.PortBroadcastFlood: 1, rtnl.PortIsolated: 0,
		rtnl.PortHairpin: 0, rtnl.PortNeighSuppress: 0, rtnl.PortGuard: 0, rtnl.PortRootBlock: 0, rtnl.PortFastLeave: 0,
		rtnl.PortCost: 2, rtnl.PortPriority: 32, rtnl.PortMulticastRouter: 1}
)

// usualLink is what the kernel makes of a link of a kind.
func usualLink(kind *plan.Kind) settings {
	arp := uint32(1)
	if kind.NoARP {
		arp = 0
	}
	return settings{rtnl.LinkGroup: 0, rtnl.LinkPromisc: 0, rtnl.LinkAllMulticast: 0, rtnl.LinkARP: arp, rtnl.LinkAddrGenMode: 0,
		rtnl.LinkGSOMaxSize: 65536, rtnl.LinkGSOMaxSegs: 65535, rtnl.LinkGROMaxSize: 65536}
}

// beside returns the settings that are not as usual.
func beside(o rtnl.Options, usual settings) rtnl.Options {
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
func made(f *want.Iface, l, master *rtnl.Link, tag *plan.Tag, mtu bool) {
	kind, ofBond := plan.KindOf(l.Kind), master != nil && master.Kind == "bond"
	if (kind.NoMAC == nil || kind.NoMAC(&l.Data) == "") && !ofBond && plan.Own(l).Mode != "passthru" {
		f.MAC = l.MAC
	}
	switch {
	case l.Kind == "bridge":
		f.MTU = tag.MTU
	case l.MTU != cmp.Or(kind.MTU, usualMTU) || mtu:
		f.MTU = l.MTU
	}
	if l.TxQLen != cmp.Or(kind.QueueLen, usualQueue) {
		f.TxQueueLen = &l.TxQLen
	}
	o := beside(l.Options, usualLink(kind))
	if kind.NoAddrGen {
		o.Drop(rtnl.LinkAddrGenMode)
	}
	if l.Kind == "bridge" { // it has what its ports allow
		o.Drop(rtnl.LinkGSOMaxSize)
		o.Drop(rtnl.LinkGSOMaxSegs)
	}
	f.LinkOptions = asked(&o)
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
		if _, noted := tag.Was.Get(at); !noted {
			o.Drop(at)
		}
	}
	f.LinkOptions = asked(&o)
}

// bridge says what a bridge is beside what the kernel makes, nil where that is nothing.
func bridge(l *rtnl.Link, vlans map[int][]rtnl.VLAN) *want.Bridge {
	if l.Bridge == nil {
		return nil
	}
	o := beside(*l.Bridge, usualBridge)
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
	o := beside(*l.Port, usualPort)
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
