package osl

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/seed59451c2b/osl"
)

// How often, and how far apart, the addresses of an interface are advertised.
const (
	AdvertiseAddrNMsgsMin    = 0
	AdvertiseAddrNMsgsMax    = 3
	AdvertiseAddrIntervalMin = 100 * time.Millisecond
	AdvertiseAddrIntervalMax = 2 * time.Second
)

// Iface is how RestoreInterfaces knows an interface.
type Iface struct{ SrcName, DstPrefix, DstName string }

// IfaceOption is an option of AddInterface.
type IfaceOption func(*iface)

// iface is what the options of an interface say.
type iface struct {
	options  []osl.IfaceOption
	v6       *net.IPNet
	sysctls  map[string]string
	defaults []netip.Prefix
	messages int
	interval time.Duration
	err      error // of the first option that is wrong
}

func collect(options []IfaceOption) *iface {
	i := &iface{sysctls: map[string]string{}, messages: AdvertiseAddrNMsgsMax, interval: time.Second}
	for _, o := range options {
		if o != nil {
			o(i)
		}
	}
	return i
}

// all are osl's options.
func (i *iface) all() []osl.IfaceOption {
	if i.messages == 0 { // then the kernel says nothing either
		i.sysctls["ipv4.arp_notify"], i.sysctls["ipv6.ndisc_notify"] = "0", "0"
	}
	if i.sysctls["ipv6.disable_ipv6"] == "1" { // moby then gives the address up, and osl refuses the two together
		i.v6 = nil
	}
	return append(i.options, with.AddressIPv6(i.v6), osl.WithSysctls(i.sysctls))
}

// with makes the options that every engine knows.
var with = new(osl.Namespace).InterfaceOptions()

func option(o osl.IfaceOption) IfaceOption {
	return func(i *iface) { i.options = append(i.options, o) }
}

func WithIsBridge(is bool) IfaceOption                  { return option(with.Bridge(is)) }
func WithMaster(name string) IfaceOption                { return option(with.Master(name)) }
func WithMACAddress(mac net.HardwareAddr) IfaceOption   { return option(with.MacAddress(mac)) }
func WithIPv4Address(a *net.IPNet) IfaceOption          { return option(with.Address(a)) }
func WithIPv6Address(a *net.IPNet) IfaceOption          { return func(i *iface) { i.v6 = a } }
func WithLinkLocalAddresses(l []*net.IPNet) IfaceOption { return option(with.LinkLocalAddresses(l)) }

// WithRoutes sets the networks that are reached directly. A default route comes with
// SetDefaultRouteIPv4 or IPv6.
func WithRoutes(routes []*net.IPNet) IfaceOption {
	return func(i *iface) {
		direct := slices.DeleteFunc(slices.Clone(routes), func(r *net.IPNet) bool { return r.IP.IsUnspecified() })
		i.options = append(i.options, with.Routes(direct))
		for _, r := range routes {
			if r.IP.IsUnspecified() && r.IP.To4() != nil {
				i.defaults = append(i.defaults, default4)
			} else if r.IP.IsUnspecified() {
				i.defaults = append(i.defaults, default6)
			}
		}
	}
}

// WithSysctls sets settings, each as net.ipv4.conf.IFNAME.arp_ignore=1.
func WithSysctls(list []string) IfaceOption {
	return func(i *iface) {
		for _, s := range list {
			name, value, ok := strings.Cut(s, "=")
			part := strings.Split(name, ".")
			if !ok || len(part) != 5 || part[0] != "net" || part[2] != "conf" {
				i.fail(fmt.Errorf("the sysctl %q is not net.FAMILY.conf.IFNAME.NAME=VALUE", s))
				return
			}
			i.sysctls[part[1]+"."+part[4]] = value
		}
	}
}

// WithCreatedInContainer says that the link is in the sandbox already.
func WithCreatedInContainer(is bool) IfaceOption {
	if !is {
		return nil
	}
	return option(osl.WithLinkInside())
}

// WithAdvertiseAddrNMsgs sets how often the addresses are advertised.
func WithAdvertiseAddrNMsgs(messages int) IfaceOption {
	return func(i *iface) {
		if i.messages = messages; messages < AdvertiseAddrNMsgsMin || messages > AdvertiseAddrNMsgsMax {
			i.fail(fmt.Errorf("AdvertiseAddrNMsgs %d is not in the range %d to %d", messages, AdvertiseAddrNMsgsMin, AdvertiseAddrNMsgsMax))
		}
	}
}

// WithAdvertiseAddrInterval sets the time between two of these.
func WithAdvertiseAddrInterval(interval time.Duration) IfaceOption {
	return func(i *iface) {
		if i.interval = interval; interval < AdvertiseAddrIntervalMin || interval > AdvertiseAddrIntervalMax {
			i.fail(fmt.Errorf("AdvertiseAddrInterval %v is not in the range %v to %v", interval, AdvertiseAddrIntervalMin, AdvertiseAddrIntervalMax))
		}
	}
}

func (i *iface) fail(err error) {
	if i.err == nil {
		i.err = err
	}
}

// advertise tells the neighbors of an interface at once, and in the background again. That
// is here and not in osl, which starts nothing that goes on after a call. What can not be
// sent is no failure: neighbors find the addresses by asking.
func (n *Namespace) advertise(srcName string, i *iface) {
	if i.messages == 0 || n.Advertise(context.Background(), srcName) != nil {
		return
	}
	go func() {
		for range i.messages - 1 {
			time.Sleep(i.interval)
			if n.Advertise(context.Background(), srcName) != nil {
				return // the interface is gone, or the sandbox
			}
		}
	}()
}
