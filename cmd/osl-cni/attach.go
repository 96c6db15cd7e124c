//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// mode is one thing that osl-cni makes.
type mode struct {
	// valid says what is wrong with a configuration.
	valid func(c *conf) error
	// plan says what to make for a lease, and notes in a.result what that is.
	plan func(a *attachment, lease *current.Result) (osl.Network, error)
	// whole is one that does all by itself instead.
	whole func(a *attachment) (*current.Result, error)
	// needs says that it can not do without IPAM.
	needs bool
	// masq says that it takes ipMasq.
	masq bool
	// early says that the addresses are got first, whatever the IPAM plugin.
	early bool
	// confirm compares what is on the host with what the configuration says.
	confirm func(a *attachment, prev *current.Result) error
}

var modes map[string]*mode

func init() {
	modes = map[string]*mode{"bridge": bridgeMode, "loopback": loopbackMode, "ptp": ptpMode, "macvlan": macvlanMode, "ipvlan": ipvlanMode, "host-device": deviceMode,
		"tap": tapMode, "dummy": dummyMode, "vlan": vlanMode}
}

func modeNames() (list []string) {
	for name := range modes {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// attachment is an interface of a container, in a network.
type attachment struct {
	ctx    context.Context
	args   *skel.CmdArgs
	c      *conf
	ns     *osl.Namespace // of the container
	host   *osl.Namespace
	result *current.Result
	end    string // the name of the host's end of a veth

	brought brought // by a link of the host
}

// open opens the host, and the container's namespace.
func open(args *skel.CmdArgs, c *conf) (*attachment, error) {
	a := &attachment{ctx: context.Background(), args: args, c: c, end: hostEnd(args)}
	a.result = &current.Result{CNIVersion: current.ImplementedSpecVersion}
	var err error
	if a.ns, err = osl.Open(a.ctx, args.Netns); err != nil {
		return nil, err
	}
	if a.host, err = openHost(); err != nil {
		a.ns.Close()
		return nil, err
	}
	return a, nil
}

func openHost() (*osl.Namespace, error) {
	sb, err := osl.NewSandbox(osl.HostName, false, false)
	if err != nil {
		return nil, err
	}
	return sb.(*osl.Namespace), nil
}

func (a *attachment) close() {
	a.ns.Close()
	a.host.Close()
}

// hostEnd is the name of the host's end of a veth: the same one each time, so that
// what a killed ADD left is found.
func hostEnd(args *skel.CmdArgs) string {
	h := sha256.Sum256([]byte(args.ContainerID + "\x00" + args.IfName + "\x00" + args.Netns))
	return fmt.Sprintf("veth%x", h[:4])
}

// loadValid reads a configuration that ADD and CHECK can work by.
func loadValid(args *skel.CmdArgs) (c *conf, m *mode, err error) {
	if c, err = load(args); err != nil {
		return nil, nil, err
	}
	if c.argsErr != nil { // DEL has to do without
		return nil, nil, c.argsErr
	}
	if c.MTU < 0 || c.MTU > 65535 { // before there is a bridge
		return nil, nil, invalid("the mtu %d is none of a link: 0 to 65535", c.MTU)
	}
	if m = modes[c.kind]; m.valid != nil {
		err = m.valid(c)
	}
	if err == nil {
		err = c.loadTuning(args.IfName)
	}
	if err == nil {
		err = c.validTables()
	}
	return c, m, err
}

func add(args *skel.CmdArgs) error {
	c, m, err := loadValid(args)
	if err != nil {
		return err
	}
	if m.needs && c.IPAM.Type == "" {
		return invalid("a %s needs addresses: ipam is missing", c.kind)
	}
	if len(c.owner(args)) > 160 {
		return invalid("the network's name and the id of the container are too long to be noted with the interface, by %d bytes", len(c.owner(args))-160)
	}
	defer c.hold(args)()
	a, err := open(args, c)
	if err != nil {
		return fail(err)
	}
	defer a.close()
	free, err := c.holdTables(a.ns)
	if err != nil {
		return fail(err)
	}
	defer free()
	r, err := (*current.Result)(nil), error(nil)
	if m.whole != nil {
		r, err = m.whole(a)
	} else {
		r, err = a.attach(m)
	}
	if err != nil {
		return fail(err)
	}
	return types.PrintResult(r, c.CNIVersion)
}

// attach makes the interface. After an error there is nothing of it, and the IPAM
// plugin has its addresses back.
func (a *attachment) attach(m *mode) (r *current.Result, err error) {
	// A second ADD must not give back what the first one has.
	if _, err := a.ns.Interface(a.ctx, a.args.IfName); err == nil {
		return nil, fmt.Errorf("%w: the container has an interface %s already; DEL comes first", osl.ErrNameInUse, a.args.IfName)
	} else if !gone(err) {
		return nil, err
	}
	lease, err := a.c.handedDown()
	if err != nil {
		return nil, err
	}
	first := m.early || slices.Contains(early, a.c.IPAM.Type)
	done := false // the interface is there
	defer func() {
		if err == nil {
			return
		}
		if done {
			_, terr := a.c.takeInside(a.ctx, a.args, a.ns)
			err = errors.Join(err, terr, a.c.delMasq(a.args))
		}
		_ = a.c.release(a.args) // also of what has given nothing out
	}()
	if first {
		if lease, err = a.c.lease(a.args); err != nil {
			return nil, err
		}
	}
	net, err := a.plan(m, lease)
	if err != nil {
		return nil, err
	}
	if err := a.make(net); err != nil {
		return nil, err
	}
	done = true
	if err := a.name(); err != nil {
		return nil, err
	}
	if !first && a.c.IPAM.Type != "" {
		if lease, err = a.c.lease(a.args); err != nil {
			return nil, err
		}
		again, err := a.plan(m, lease)
		if err != nil {
			return nil, err
		}
		s := again.Sandboxes[len(again.Sandboxes)-1]
		f := s.Interfaces[0]
		s.Interfaces = []osl.InterfaceSpec{{Name: f.Name, Aliases: f.Aliases, AddressOptions: f.AddressOptions, Routes: f.Routes, Sysctls: f.Sysctls, Down: f.Down}}
		if err := osl.Add(a.ctx, osl.Network{Sandboxes: []osl.Spec{s}}); err != nil {
			return nil, err
		}
	}
	if err := a.masquerade(lease); err != nil {
		return nil, err
	}
	a.result.IPs, a.result.Routes, a.result.DNS = lease.IPs, lease.Routes, lease.DNS
	if d := a.c.DNS; d.Nameservers != nil || d.Search != nil || d.Options != nil || d.Domain != "" { // an empty list says something
		a.result.DNS = d
	}
	return a.result, nil
}

// plan says what to make, with the routes in the tables where they are to be.
func (a *attachment) plan(m *mode, lease *current.Result) (osl.Network, error) {
	net, err := m.plan(a, lease)
	if err == nil {
		err = a.divert(&net.Sandboxes[len(net.Sandboxes)-1], lease)
	}
	return net, err
}

// name notes the hardware address of an interface that was not told one.
func (a *attachment) name() error {
	for _, x := range a.result.Interfaces {
		if x.Mac != "" || x.Sandbox == "" {
			continue
		}
		now, err := a.ns.Interface(a.ctx, x.Name)
		if err != nil {
			return err
		}
		x.Mac = now.MAC.String()
	}
	return nil
}

// make makes what a plan says. The host's end of a veth may be there still, of an ADD
// that was killed and whose namespace is just ending.
func (a *attachment) make(net osl.Network) error {
	err := osl.Add(a.ctx, net)
	if !errors.Is(err, osl.ErrNameInUse) {
		return err
	}
	x, lerr := a.host.Interface(a.ctx, a.end)
	if lerr != nil || x.Note != a.c.owner(a.args) {
		return err
	}
	if _, lerr := a.ns.Interface(a.ctx, a.args.IfName); lerr == nil {
		return err // it is the end of that
	}
	if err := a.host.RemoveLink(a.ctx, a.end); err != nil && !errors.Is(err, osl.ErrNotFound) {
		return err
	}
	return osl.Add(a.ctx, net)
}

// iface begins the container's interface: with the addresses of a lease.
func (a *attachment) iface(kind string, lease *current.Result) (osl.InterfaceSpec, error) {
	f := osl.InterfaceSpec{Name: a.args.IfName, Type: kind, MTU: a.c.MTU, MAC: osl.MAC(a.c.mac), Note: a.c.owner(a.args)}
	six := false
	for _, ip := range lease.IPs {
		p, err := prefixOf(ip.Address)
		if err != nil {
			return f, err
		}
		six = six || p.Addr().Is6()
		f.Aliases = append(f.Aliases, p)
	}
	f.Sysctls = map[string]string{}
	switch {
	case six:
		f.Sysctls["ipv6.keep_addr_on_down"] = "1"
		// Where the namespace has IPv6 already osl leaves these as they are.
		f.Sysctls["ipv6.accept_dad"], f.Sysctls["ipv6.ndisc_notify"] = "0", "1"
	case a.hasIPv6():
		f.Sysctls["ipv6.disable_ipv6"] = "0" // a router may give it addresses
	}
	return f, nil
}

// hasIPv6 reports whether new interfaces of the container have IPv6.
func (a *attachment) hasIPv6() (is bool) {
	err := a.ns.InvokeFunc(func() {
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
		is = err == nil && strings.TrimSpace(string(b)) == "0"
	})
	return err == nil && is
}

// sandbox is what is wanted of the container.
func (a *attachment) sandbox(f osl.InterfaceSpec, lease *current.Result) (osl.Spec, error) {
	s := osl.Spec{Name: a.args.Netns}
	for _, r := range lease.Routes {
		x, err := routeOf(r, lease)
		if err != nil {
			return s, err
		}
		plain := x.Table == 0 && x.Metric == 0 && x.MTU == 0 && x.AdvMSS == 0 && x.Scope == ""
		switch {
		case !x.Via.IsValid() && plain:
			f.Routes = append(f.Routes, x.To)
			continue
		case !x.Via.IsValid() || onLink(lease, x.Via): // else another interface may lead there
			x.Dev = f.Name
		}
		if !x.Via.IsValid() && x.To.Addr().Is4() && x.Scope == "" {
			x.Scope = scopeLink
		}
		s.Routes = alternative(s.Routes, x)
	}
	a.tune(&s, &f)
	s.Interfaces = []osl.InterfaceSpec{f}
	return s, nil
}

// inContainer notes the container's interface in the result, as the one that has the
// addresses.
func (a *attachment) inContainer(mac net.HardwareAddr, lease *current.Result) {
	at := len(a.result.Interfaces)
	a.result.Interfaces = append(a.result.Interfaces, &current.Interface{Name: a.args.IfName, Mac: mac.String(), Sandbox: a.args.Netns})
	for _, ip := range lease.IPs {
		ip.Interface = current.Int(at)
	}
}

// prefixOf turns an address of CNI into one of osl.
func prefixOf(n net.IPNet) (netip.Prefix, error) {
	ip, ok := addrOf(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, invalid("%v is no address with a prefix length", n.String())
	}
	if ip.Is4() && bits == 128 {
		ones -= 96
	}
	return netip.PrefixFrom(ip, ones), nil
}

// ipNet is a prefix as CNI's results have it.
func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func has(list []netip.Prefix, p netip.Prefix) bool { return slices.Contains(list, p) }

func addrOf(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// newMAC returns a hardware address at random, of those that are free to use.
func newMAC() net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	_, _ = rand.Read(mac) // never fails
	mac[0] = mac[0]&^1 | 2
	return mac
}
