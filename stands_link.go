package osl

import (
	"bytes"
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

const (
	usualMTU   = 1500
	usualQueue = 1000
)

// made says what an interface is that osl made, where that is not what the kernel makes.
func (f *InterfaceSpec) made(x *InterfaceStatus, l, master *rtnl.Link, tag *plan.Tag, both bool) {
	ofBond := master != nil && master.Kind == "bond"
	ownMAC := plan.KindOf(l.Kind).NoMAC
	if (ownMAC == nil || ownMAC(&l.Data) == "") && !ofBond && x.Details["mode"] != "passthru" {
		f.MAC = x.MAC
	}
	switch {
	case l.Kind == "bridge":
		f.MTU = tag.MTU
	case ofBond:
	case l.MTU != usualMTU || both:
		f.MTU = l.MTU
	}
	usual := usualQueue
	switch l.Kind {
	case "tun", "tap":
		usual = 500
	case "ifb":
		usual = 32
	}
	if l.TxQLen != usual {
		f.TxQueueLen = &l.TxQLen
	}
	if x.Group != 0 {
		f.Group = &x.Group
	}
	yes, no := true, false
	if x.Promisc {
		f.Promisc = &yes
	}
	if x.AllMulticast {
		f.AllMulticast = &yes
	}
	if silent := slices.Contains(silentKinds, l.Kind); !x.ARP && !silent {
		f.ARP = &no
	} else if x.ARP && silent {
		f.ARP = &yes
	}
	if x.AddrGenMode != plan.AddrGenModes[0] && l.Kind != "wireguard" {
		f.AddrGenMode = x.AddrGenMode
	}
	if l.Kind == "bridge" {
		return
	}
	for _, v := range []struct{ to, is, usual *int }{
		{&f.GSOMaxSize, &x.GSOMaxSize, &usualGSO}, {&f.GSOMaxSegs, &x.GSOMaxSegs, &usualSegs}, {&f.GROMaxSize, &x.GROMaxSize, &usualGSO},
	} {
		if *v.is != *v.usual {
			*v.to = *v.is
		}
	}
}

var usualGSO, usualSegs = 65536, 65535

// silentKinds are those that the kernel makes with ARP off.
var silentKinds = []string{"dummy", "ifb", "vrf", "tun", "gre", "ipip", "sit", "ip6gre", "vcan", "wireguard", "ipvlan", "ipvtap", "netkit"}

// changed says what osl changed of a link that was there before.
func (f *InterfaceSpec) changed(x *InterfaceStatus, l *rtnl.Link, tag *plan.Tag) {
	if len(tag.MAC) > 0 && !bytes.Equal(tag.MAC, l.MAC) {
		f.MAC = x.MAC
	}
	if l.MTU != tag.MTU {
		f.MTU = l.MTU
	}
	if l.TxQLen != tag.TxQLen {
		f.TxQueueLen = &l.TxQLen
	}
	was := func(at int) bool { _, changed := tag.Was.Get(at); return changed }
	for at, set := range map[int]func(){
		rtnl.LinkGroup:        func() { f.Group = &x.Group },
		rtnl.LinkPromisc:      func() { f.Promisc = &x.Promisc },
		rtnl.LinkAllMulticast: func() { f.AllMulticast = &x.AllMulticast },
		rtnl.LinkARP:          func() { f.ARP = &x.ARP },
		rtnl.LinkAddrGenMode:  func() { f.AddrGenMode = x.AddrGenMode },
		rtnl.LinkGSOMaxSize:   func() { f.GSOMaxSize = x.GSOMaxSize },
		rtnl.LinkGSOMaxSegs:   func() { f.GSOMaxSegs = x.GSOMaxSegs },
		rtnl.LinkGROMaxSize:   func() { f.GROMaxSize = x.GROMaxSize },
	} {
		if was(at) {
			set()
		}
	}
}

// bridgeSpec says what a bridge, and a port of one, is beside what the kernel makes.
// master is the status of a port's bridge, nil for others.
func (f *InterfaceSpec) bridgeSpec(x, master *InterfaceStatus) {
	if x.Bridge != nil {
		b := *x.Bridge
		b.PVID, b.VLANs = vlansBeside(x.Bridge, b.PVID, b.VLANs)
		unusual(&b, usualBridge)
		if !reflect.ValueOf(b).IsZero() {
			f.Bridge = &b
		}
	}
	if x.BridgePort != nil && master != nil {
		p := *x.BridgePort
		p.PVID, p.VLANs = vlansBeside(master.Bridge, p.PVID, p.VLANs)
		unusual(&p, usualPort)
		if !reflect.ValueOf(p).IsZero() {
			f.BridgePort = &p
		}
	}
}

// vlansBeside returns what has to be said of the VLANs of a bridge, or of a port of it,
// where the kernel makes them the bridge's default.
func vlansBeside(bridge *BridgeSpec, pvid *int, list []VLANRange) (*int, []VLANRange) {
	if bridge == nil || bridge.VLANFiltering == nil || !*bridge.VLANFiltering {
		return nil, nil
	}
	list = slices.DeleteFunc(slices.Clone(list), func(v VLANRange) bool {
		return pvid != nil && v == VLANRange{*pvid, *pvid, true}
	})
	usual, has := 0, 0
	if bridge.VLANDefaultPVID != nil {
		usual = *bridge.VLANDefaultPVID
	}
	if pvid != nil {
		has = *pvid
	}
	if has == usual && len(list) == 0 {
		return nil, nil
	}
	return &has, list
}

// What the kernel makes a bridge, and a port. The cost of a port is by its speed.
var (
	usualBridge = map[string]string{"vlan_filtering": "false", "vlan_protocol": "802.1Q", "vlan_default_pvid": "1", "stp": "false",
		"priority": "32768", "ageing_time": "5m0s", "forward_delay": "15s", "hello_time": "2s", "max_age": "20s",
		"mcast_snooping": "true", "mcast_querier": "false"}
	usualPort = map[string]string{"learning": "true", "flood": "true", "mcast_flood": "true", "bcast_flood": "true", "isolated": "false",
		"hairpin": "false", "neigh_suppress": "false", "guard": "false", "root_block": "false", "fastleave": "false",
		"cost": "2", "priority": "32", "mcast_router": "1"}
)

// unusual clears the fields of a structure that are as usual.
func unusual(of any, usual map[string]string) {
	v := reflect.ValueOf(of).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		x := v.Field(i)
		text, known := usual[name]
		if !known || x.IsZero() {
			continue
		}
		for x.Kind() == reflect.Pointer {
			x = x.Elem()
		}
		is := ""
		switch m, ok := x.Interface().(encoding.TextMarshaler); {
		case ok:
			b, _ := m.MarshalText() // those of this package do not fail
			is = string(b)
		case x.Kind() == reflect.Bool:
			is = strconv.FormatBool(x.Bool())
		case x.Kind() == reflect.Int:
			is = strconv.FormatInt(x.Int(), 10)
		default:
			is = x.String()
		}
		if is == text {
			v.Field(i).SetZero()
		}
	}
}
