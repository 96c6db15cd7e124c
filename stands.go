package osl

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// Spec reads what the sandbox is, as a Spec: to Apply it changes nothing, and where the
// sandbox is gone makes one like it. It has what osl holds, with the hardware addresses
// and the MTUs as they are, and of settings those that differ from a new sandbox's. It
// has not what others made in the sandbox; and of offloads nobody knows which were
// asked for. An interface whose other end is in a sandbox has a name and no type, and
// must be there, as one that is neither osl's to make nor from the host: [Export]
// has both ends. A wireguard has no keys, but the names of files for them, which are not
// written: SANDBOX.INTERFACE.key, and SANDBOX.INTERFACE.1.psk for its first peer. It
// writes nothing and needs what Open needs.
func (n *Namespace) Spec(ctx context.Context) (Spec, error) {
	s, err := n.opened().Stands(ctx)
	if err != nil {
		return Spec{}, public(err)
	}
	spec := n.specOf(s)
	for i := range spec.Interfaces {
		if x := &spec.Interfaces[i]; x.Peer != (Endpoint{}) && x.Peer.Sandbox != HostName {
			*x = x.kept()
		}
	}
	return spec, nil
}

// Export reads what the sandboxes with these names are, as a network: as
// [Namespace.Spec] does, with a veth between two of them as one of its links. Where they
// are all that there are of one network, it has that one's name and what it has on the
// host. Checks are nowhere to be read.
func Export(ctx context.Context, names ...string) (Network, error) {
	net := Network{Sandboxes: []Spec{}}
	all, err := List(ctx)
	if err != nil {
		return net, err
	}
	onHost := false
	for i, name := range names {
		s, tag, err := export(ctx, name)
		if err != nil {
			return Network{}, err
		}
		net.Sandboxes = append(net.Sandboxes, s)
		if onHost = onHost || tag.OnHost; i == 0 {
			net.Name = tag.Network
		} else if tag.Network != net.Name {
			net.Name = ""
		}
	}
	if slices.ContainsFunc(all, func(e Entry) bool { return e.Network == net.Name && net.named(e.Name) == nil }) {
		net.Name = "" // to Apply, the others would be those that it does not list any more
	}
	if onHost && net.Name != "" {
		s, err := engine.StandsOnHost(ctx, net.Name)
		if err != nil {
			return Network{}, public(err)
		}
		host := new(Namespace).specOf(s)
		host.Name = HostName
		for _, m := range s.State.Masq {
			host.Masquerade = append(host.Masquerade, MasqueradeSpec(m))
		}
		net.Sandboxes = slices.Insert(net.Sandboxes, 0, host)
	}
	net.link()
	net.unplug()
	return net, nil
}

func export(ctx context.Context, name string) (Spec, plan.SandboxTag, error) {
	n, err := Open(ctx, name)
	if err != nil {
		return Spec{}, plan.SandboxTag{}, err
	}
	s, err := n.opened().Stands(ctx)
	if err != nil {
		_ = n.Close() // it was only read
		return Spec{}, plan.SandboxTag{}, public(err)
	}
	tag, _ := plan.ParseSandboxTag(s.State.ByIndex(1).Alias)
	tag.Network = plan.NetworkOf(s.State.ByIndex(1))
	return n.specOf(s), tag, n.Close()
}

// named returns the sandbox with a name, nil if the network lists none.
func (net *Network) named(name string) *Spec {
	for i := range net.Sandboxes {
		if net.Sandboxes[i].Name == name {
			return &net.Sandboxes[i]
		}
	}
	return nil
}

// link makes links of the veths that have both ends in the network.
func (net *Network) link() {
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		for j := range s.Interfaces {
			x, at := &s.Interfaces[j], Endpoint{s.Name, s.Interfaces[j].Name}
			var other *InterfaceSpec
			if o := net.named(x.Peer.Sandbox); o != nil && x.Type == "veth" {
				if k := slices.IndexFunc(o.Interfaces, func(y InterfaceSpec) bool { return y.Name == x.Peer.Interface }); k >= 0 {
					other = &o.Interfaces[k]
				}
			}
			if other == nil || other.Peer != at && x.Peer.Sandbox != HostName {
				continue
			}
			net.Links = append(net.Links, Link{at, x.Peer})
			if other.Master != "" {
				x.PeerMaster = ""
			}
			x.Type, x.Peer, other.Type, other.Peer = "", Endpoint{}, "", Endpoint{}
		}
	}
}

// unplug leaves the ends of links as they are whose other end is in none of the
// network's sandboxes, or says so already.
func (net *Network) unplug() {
	said := map[Endpoint]bool{}
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		for j := range s.Interfaces {
			x := &s.Interfaces[j]
			if x.Peer == (Endpoint{}) || x.Peer.Sandbox == HostName {
				continue
			}
			if net.named(x.Peer.Sandbox) == nil || said[Endpoint{s.Name, x.Name}] {
				*x = x.kept()
			}
			said[x.Peer] = true
		}
	}
}

// kept is the interface without what makes one of its type.
func (s InterfaceSpec) kept() InterfaceSpec {
	s.Type, s.Peer, s.Mode, s.Policy, s.PeerPolicy, s.NumTxQueues, s.NumRxQueues = "", Endpoint{}, "", "", "", 0, 0
	return s
}

// hasRemote reports whether a vxlan has a remote of its own: others are entries beside it.
func hasRemote(l *rtnl.Link) bool { return l != nil && l.Data.Remote.IsValid() }

func (n *Namespace) specOf(s *engine.Standing) Spec {
	st := n.statusOf(s.Reading)
	spec := Spec{Name: st.Name, Gateway: st.Gateway, Gateway6: st.Gateway6, Routes: st.Routes, Rules: st.Rules,
		Sysctls: settingsByName(s.Settings.Sandbox), Labels: st.Labels}
	remotes := map[string][]netip.Addr{}
	for _, x := range st.Neighbors {
		if x.FDB && x.IP.IsValid() && bytes.Equal(x.MAC, make(MAC, 6)) && !hasRemote(s.State.Link(x.Dev)) {
			remotes[x.Dev] = append(remotes[x.Dev], x.IP)
			continue
		}
		spec.Neighbors = append(spec.Neighbors, x)
	}
	subnets := map[netip.Prefix]string{}
	shared := map[string]bool{}
	links := map[int]*rtnl.Link{}
	for i := range s.State.Links {
		links[s.State.Links[i].Index] = &s.State.Links[i]
	}
	byName := map[string]*InterfaceStatus{}
	for i := range st.Interfaces {
		byName[st.Interfaces[i].Name] = &st.Interfaces[i]
	}
	for i := range st.Interfaces {
		x := &st.Interfaces[i]
		f, is := interfaceSpec(st.Name, x, byName[x.Master], links, s)
		if !is {
			continue
		}
		f.Remotes = remotes[x.Name]
		for _, p := range f.Addresses {
			if first, there := subnets[p.Masked()]; there && first != f.Name {
				shared[first], shared[f.Name] = true, true
			}
			subnets[p.Masked()] = f.Name
		}
		spec.Interfaces = append(spec.Interfaces, f)
	}
	for i := range spec.Interfaces {
		spec.Interfaces[i].SharedSubnet = shared[spec.Interfaces[i].Name]
	}
	return spec
}

// interfaceSpec says what an interface is to be, if it is one of osl's. master is what
// it is a port of, nil for nothing.
func interfaceSpec(sandbox string, x, master *InterfaceStatus, links map[int]*rtnl.Link, s *engine.Standing) (f InterfaceSpec, is bool) {
	l := links[x.Index]
	tag, ours := plan.ParseTag(l.Alias)
	if f.Name = x.Name; f.Name == "lo" {
		ours = true
	}
	f.Aliases, f.AddressOptions, f.Impair, f.Note = x.Aliases, x.AddressOptions, x.Impair, x.Note
	for _, p := range x.Addresses {
		if !slices.Contains(x.Others, p) {
			f.Addresses = append(f.Addresses, p)
		}
	}
	if !ours || f.Name == "lo" && len(f.Addresses)+len(f.Aliases)+len(s.Settings.Links["lo"])+len(x.Routes) == 0 {
		return f, false
	}
	f.Master, f.Routes, f.Down = x.Master, x.Routes, !x.Up && f.Name != "lo"
	f.Sysctls = settingsByName(s.Settings.Links[x.Name])
	f.ipv6(x)
	if f.Name == "lo" {
		return f, true
	}
	f.DisableARPForVIP = l.Inet.ARPIgnore == 1 && l.Inet.ARPAnnounce == 2
	f.AltNames = tag.Gave(l)
	f.bridgeSpec(x, master)
	switch tag.Origin {
	case plan.Far:
		f.made(x, l, links[l.Master], &tag, false)
		return f, true
	case plan.Host, plan.Kept:
		if tag.Origin == plan.Host {
			f.Source = x.Source
		}
		f.changed(x, l, &tag)
		return f, true
	}
	f.Type, f.WireGuard = x.Type, wireGuardSpec(sandbox, x)
	kind := plan.KindOf(l.Kind)
	far, found := s.Far[l.Index]
	other := &far.Link
	if below := links[l.Parent]; !found && !l.ParentNS && below != nil {
		far, found, other = engine.Far{Sandbox: sandbox, Link: *below}, true, below
	}
	switch {
	case kind.Pair && found:
		f.Peer = Endpoint{far.Sandbox, other.Name}
		if far.Sandbox == want.HostName {
			f.PeerMaster = far.Master
		}
	case kind.Pair:
		f.Peer.Sandbox = "?" // where no name leads
	case found && far.Sandbox == want.HostName:
		f.Parent = want.HostName + "/" + other.Name
	}
	for name, text := range x.Details {
		setField(&f, name, text)
	}
	f.made(x, l, links[l.Master], &tag, kind.Pair && found && other.MTU != usualMTU)
	return f, true
}

// wireGuardSpec says what a wireguard is to be, with files for its keys.
func wireGuardSpec(sandbox string, x *InterfaceStatus) *WireGuardSpec {
	if x.WireGuard == nil {
		return nil
	}
	name := strings.ReplaceAll(strings.Trim(sandbox, "/"), "/", "_") + "." + x.Name
	w := &WireGuardSpec{PrivateKeyFile: name + ".key", ListenPort: x.WireGuard.ListenPort, FwMark: x.WireGuard.FwMark}
	for i, p := range x.WireGuard.Peers {
		to := WireGuardPeerSpec{PublicKey: p.PublicKey, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs, PersistentKeepalive: p.PersistentKeepalive}
		if p.Preshared {
			to.PresharedKeyFile = fmt.Sprintf("%s.%d.psk", name, i+1)
		}
		w.Peers = append(w.Peers, to)
	}
	return w
}

// ipv6 says how IPv6 is on where an address does not say it.
func (f *InterfaceSpec) ipv6(x *InterfaceStatus) {
	const accept, disable = "ipv6.accept_ra", "ipv6.disable_ipv6"
	six := slices.ContainsFunc(slices.Concat(f.Addresses, f.Aliases), func(p netip.Prefix) bool { return p.Addr().Is6() })
	heard := f.Sysctls[accept]
	switch {
	case x.IPv6 == "off":
		delete(f.Sysctls, accept)
	case f.Name == "lo":
	case heard == "0", heard == "2":
		f.IPv6 = map[string]string{"0": "link-local", "2": "auto"}[heard]
		delete(f.Sysctls, accept)
	case !six:
		if f.Sysctls == nil {
			f.Sysctls = map[string]string{}
		}
		f.Sysctls[disable] = "0"
	}
	if len(f.Sysctls) == 0 {
		f.Sysctls = nil
	}
}

// setField sets the field of an interface that files call by a name to what
// InterfaceStatus.Details has of it.
func setField(f *InterfaceSpec, name, text string) {
	v := reflect.ValueOf(f).Elem()
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag != name {
			continue
		}
		x := v.Field(i)
		switch p := x.Addr().Interface().(type) {
		case *string:
			*p = text
		case *bool:
			*p = text == "true"
		case **bool:
			on := text == "on"
			*p = &on
		case *int:
			*p, _ = strconv.Atoi(text)
		case **int:
			if n, err := strconv.Atoi(text); err == nil {
				*p = &n
			}
		case *netip.Addr:
			*p, _ = netip.ParseAddr(text)
		case *map[string]string:
			*p = map[string]string{}
			for _, pair := range strings.Fields(text) {
				from, to, _ := strings.Cut(pair, ":")
				(*p)[from] = to
			}
		}
		return
	}
}

// settingsByName returns settings by their names.
func settingsByName(paths map[string]string) map[string]string {
	if len(paths) == 0 {
		return nil
	}
	byName := make(map[string]string, len(paths))
	for path, value := range paths {
		if !strings.Contains(path, ".") {
			path = strings.ReplaceAll(path, "/", ".")
		}
		byName[path] = strings.Join(strings.Fields(value), " ")
	}
	return byName
}
