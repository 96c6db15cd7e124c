//go:build linux

package main

import (
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

var (
	macvlanMode = &mode{valid: validMacvlan, plan: planOf("macvlan")}
	ipvlanMode  = &mode{plan: planOf("ipvlan")}
	vlanMode    = &mode{valid: validVLAN, plan: planOf("vlan")}
	dummyMode   = &mode{needs: true, plan: planOf("dummy")}
	tapMode     = &mode{valid: validTap, plan: planOf("tap")}
)

// tapConf are the keys of the tap plugin.
type tapConf struct {
	MultiQueue bool   `json:"multiQueue"`
	Owner      *int   `json:"owner"`
	Group      *int   `json:"group"`
	SELinux    string `json:"selinuxContext"`
}

// linkMode is the mode of a macvlan or an ipvlan: where none is said, that of the reference
// plugin, which for an ipvlan is not the kernel's.
func (c *conf) linkMode() string {
	usual := map[string]string{"macvlan": "bridge", "ipvlan": "l2"}[c.kind]
	if usual == "" {
		return "" // "mode" is none of its keys
	}
	return first(c.Mode, usual)
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
	case c.VLANID < 0 || c.VLANID > 4094:
		return invalid("invalid VLAN ID %d (must be between 0 and 4095 inclusive)", c.VLANID)
	case c.VLANID == 0:
		return lacking("vlanId 0")
	}
	return nil
}

func validTap(c *conf) error {
	if c.SELinux != "" {
		return lacking("selinuxContext")
	}
	return nil
}

// planOf makes an interface that has no other end.
func planOf(kind string) func(a *attachment, lease *current.Result) (osl.Network, error) {
	return func(a *attachment, lease *current.Result) (net osl.Network, err error) {
		f, err := a.iface(kind, lease)
		if err != nil {
			return net, err
		}
		switch kind {
		case "tap":
			f.Owner, f.OwnerGroup, f.MultiQueue, f.Master = a.c.Owner, a.c.Group, a.c.MultiQueue, a.c.BrName
		case "macvlan", "ipvlan":
			f.Mode = a.c.linkMode()
		case "vlan":
			f.VLAN = a.c.VLANID
		}
		if err := a.below(&f); err != nil {
			return net, err
		}
		if a.result.Interfaces == nil {
			a.inContainer(([]byte)(f.MAC), lease)
		}
		return a.only(f, lease)
	}
}

// below says what a link is on: the one that the configuration names, on the host or
// in the container, or the host's that has the default route.
func (a *attachment) below(f *osl.InterfaceSpec) error {
	if f.Type != "macvlan" && f.Type != "ipvlan" && f.Type != "vlan" {
		return nil
	}
	n, where, prefix := a.host, "the host", osl.HostName+"/"
	if a.c.InNS {
		n, where, prefix = a.ns, "the container", ""
	}
	master := a.c.Master
	if prev, err := a.c.prev(); f.Type == "ipvlan" && master == "" && prev != nil && err == nil {
		if len(prev.Interfaces) != 1 || prev.Interfaces[0].Name == "" {
			return invalid("chained master failure. PrevResult lacks a single named interface: master is missing")
		}
		master = prev.Interfaces[0].Name
	}
	if master == "" {
		st, err := n.Inspect(a.ctx)
		if err != nil {
			return err
		}
		if master = defaultLink(st); master == "" {
			return invalid("%s has no default route, whose interface the %s could be on: master is missing", where, f.Type)
		}
	}
	f.Parent = prefix + master
	return nil
}

// defaultLink is the interface of the IPv4 default route, empty for none.
func defaultLink(st *osl.Status) string {
	routes := st.Routes
	for _, r := range st.OtherRoutes {
		routes = append(routes, r.RouteSpec)
	}
	if st.Gateway.IsValid() {
		routes = append(routes, osl.RouteSpec{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: st.Gateway})
	}
	for _, r := range routes {
		if r.To != netip.PrefixFrom(netip.IPv4Unspecified(), 0) || r.Table != 0 {
			continue
		}
		if r.Dev != "" {
			return r.Dev
		}
		for _, x := range st.Interfaces {
			if slices.ContainsFunc(slices.Concat(x.Addresses, x.Aliases), func(p netip.Prefix) bool { return r.Via.IsValid() && p.Contains(r.Via) }) {
				return x.Name
			}
		}
	}
	return ""
}

// only returns the network of an attachment whose one interface has all addresses.
func (a *attachment) only(f osl.InterfaceSpec, lease *current.Result) (net osl.Network, err error) {
	for _, ip := range lease.IPs {
		ip.Interface = current.Int(0)
	}
	s, err := a.sandbox(f, lease)
	net.Sandboxes = []osl.Spec{s}
	return net, err
}
