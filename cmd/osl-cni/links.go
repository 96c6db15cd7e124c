package main

import (
	"net/netip"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

var (
	macvlanMode = &mode{valid: validMacvlan, plan: func(a *attachment, lease *current.Result) (osl.Network, error) {
		return planLink(a, lease, "macvlan")
	}}
	vlanMode = &mode{valid: validVLAN, plan: func(a *attachment, lease *current.Result) (osl.Network, error) {
		return planLink(a, lease, "vlan")
	}}
	dummyMode = &mode{needs: true, plan: func(a *attachment, lease *current.Result) (osl.Network, error) {
		return planLink(a, lease, "dummy")
	}}
	tapMode = &mode{valid: validTap, plan: func(a *attachment, lease *current.Result) (osl.Network, error) {
		return planLink(a, lease, "tap")
	}}
)

// tapConf are the keys of the tap plugin.
type tapConf struct {
	MultiQueue bool    `json:"multiQueue"`
	Owner      *uint32 `json:"owner"`
	Group      *uint32 `json:"group"`
	SELinux    string  `json:"selinuxContext"`
	Bridge     string  `json:"-"`
}

func validMacvlan(c *conf) error {
	if c.BcQueueLen != 0 {
		return lacking("bcqueuelen")
	}
	return nil
}

func validVLAN(c *conf) error {
	switch {
	case c.Master == "":
		return invalid(`"master" field is required. It specifies the host interface name to create the VLAN for.`)
	}
	return nil
}

func validTap(c *conf) error {
	switch {
	case c.MultiQueue:
		return lacking("multiQueue")
	case c.Owner != nil || c.Group != nil:
		return lacking("owner or group of a tap")
	case c.SELinux != "":
		return lacking("selinuxContext")
	}
	return nil
}

// planLink makes an interface that has no other end: it is noted in the result with a
// hardware address that is chosen here.
func planLink(a *attachment, lease *current.Result, kind string) (net osl.Network, err error) {
	f, err := a.iface(kind, lease)
	if err != nil {
		return net, err
	}
	if err := a.below(&f); err != nil {
		return net, err
	}
	if f.MAC == nil && kind != "vlan" {
		f.MAC = osl.MAC(newMAC())
	}
	if a.result.Interfaces == nil {
		a.inContainer(([]byte)(f.MAC), lease)
	}
	for _, ip := range lease.IPs {
		ip.Interface = current.Int(0)
	}
	s, err := a.sandbox(f, lease)
	net.Sandboxes = []osl.Spec{s}
	return net, err
}

// below says what a link is on: the link of the host that the configuration names, or
// that has the default route.
func (a *attachment) below(f *osl.InterfaceSpec) error {
	switch f.Type {
	case "macvlan":
		f.Mode = a.c.Mode
	case "vlan":
		return lacking("vlan") // until its number is read
	default:
		return nil
	}
	master := a.c.Master
	if a.c.InNS {
		f.Parent = master
		return nil
	}
	if master == "" {
		st, err := a.host.Inspect(a.ctx)
		if err != nil {
			return err
		}
		for _, r := range st.OtherRoutes {
			if r.To == (netip.PrefixFrom(netip.IPv4Unspecified(), 0)) && r.Dev != "" {
				master = r.Dev
				break
			}
		}
		if master == "" {
			return invalid("the host has no default route, whose interface the %s could be on: master is missing", f.Type)
		}
	}
	f.Parent = osl.HostName + "/" + master
	return nil
}
