package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// The ports of IANA. The kernel has another one for a vxlan that names none.
const (
	vxlanPort  = 4789
	genevePort = 6081
)

// tunnelKinds carry frames in UDP.
var tunnelKinds = []*Kind{
	{
		Name: "vxlan", MaxMTU: maxMTU, Fields: []string{"vni", "parent", "local", "remote", "port", "ttl", "tos", "learning"},
		InPlace:  []string{"local", "remote", "ttl", "tos", "learning"},
		Defaults: rtnl.LinkData{Port: vxlanPort}, Check: checkUDPTunnel("vxlan", vxlanPort),
		headers: 50, silent: true, needsID: true, groups: true, ends: true,
		differs: func(f *Iface, l *rtnl.Link, dropped Asked) string {
			if f.Parent != "" && l.Parent == 0 { // which it would keep when the change is taken back
				return "without a parent"
			}
			return otherFamily(f, l, dropped)
		},
		Once: &Once{"VNI", func(d rtnl.LinkData) string { return fmt.Sprintf("the VNI %d", d.VNI) },
			"a VNI is there once for each UDP port of the namespace that the tunnel is in"},
	},
	{
		Name: "geneve", MaxMTU: maxMTU, Fields: []string{"vni", "remote", "port", "ttl", "tos"}, InPlace: []string{"remote", "ttl", "tos"},
		Defaults: rtnl.LinkData{Port: genevePort}, headers: 50, silent: true, needsID: true, resizes: true,
		Check: func(d *rtnl.LinkData) (field, text string) {
			if !d.Remote.IsValid() {
				return "remote", "a geneve needs a remote"
			}
			return checkUDPTunnel("geneve", genevePort)(d)
		},
		Once: &Once{"", func(d rtnl.LinkData) string { return fmt.Sprintf("the VNI %d", d.VNI) },
			"a geneve is there once for each VNI, remote and port"},
		differs: otherFamily,
	},
}

// wrongEnd says which address of a tunnel is none of an end of it. The kernel takes the
// unspecified one for nothing said, and then tells of nothing.
func (k *Kind) wrongEnd(d *rtnl.LinkData) (field, text string) {
	for _, end := range []struct {
		field string
		ip    netip.Addr
	}{{"local", d.Local}, {"remote", d.Remote}} {
		switch ip := end.ip; {
		case !ip.IsValid():
		case ip.IsUnspecified():
			return end.field, fmt.Sprintf("%s is %v, which is no address: leave it out where there is none", end.field, ip)
		case ip.IsMulticast() && end.field == "local":
			return end.field, fmt.Sprintf("local is the address of this end, and %v is a multicast group", ip)
		case ip.IsMulticast() && !k.groups:
			return end.field, fmt.Sprintf("the remote of %s is one other end, and %v is a multicast group", A(k.Name), ip)
		case ip.Is4In6():
			return end.field, fmt.Sprintf("%s is of IPv4, and written as IPv6: write %v", end.field, ip.Unmap())
		case ip.Zone() != "":
			return end.field, fmt.Sprintf("%s is %v: write it without %%%s, which is the parent of a tunnel", end.field, ip, ip.Zone())
		}
	}
	return "", ""
}

// otherFamily says what a link has of another family than it is to be of: the kernel
// changes an address for one of the same alone, since another needs another socket.
func otherFamily(f *Iface, l *rtnl.Link, dropped Asked) string {
	keeps := func(name string, is netip.Addr) bool { return is.Is6() && !dropped.field(name) }
	if d := &l.Data; (d.Local.Is6() || d.Remote.Is6()) && !keeps("local", d.Local) && !keeps("remote", d.Remote) &&
		!f.Data.Local.IsValid() && !f.Data.Remote.IsValid() {
		return "of IPv6" // and the kernel makes one without addresses of IPv4
	}
	for _, ip := range append([]netip.Addr{f.Data.Local, f.Data.Remote}, f.Remotes...) {
		switch local, remote := l.Data.Local, l.Data.Remote; {
		case !ip.IsValid():
		case remote.IsValid() && remote.Is4() != ip.Is4():
			return fmt.Sprintf("with the remote %v", remote)
		case local.IsValid() && local.Is4() != ip.Is4():
			return fmt.Sprintf("with the local %v", local)
		case !local.IsValid() && !remote.IsValid() && ip.Is6():
			return "of IPv4" // as the kernel makes one without addresses
		}
	}
	return ""
}

func checkUDPTunnel(kind string, port int) func(d *rtnl.LinkData) (field, text string) {
	return func(d *rtnl.LinkData) (field, text string) {
		switch {
		case d.VNI < 1 || d.VNI >= 1<<24:
			return "vni", fmt.Sprintf("a %s needs a vni from 1 to %d", kind, 1<<24-1)
		case d.Port < 0 || d.Port > 65535:
			return "port", fmt.Sprintf("the port %d is none: it is from 1 to 65535, or 0 for %d", d.Port, port)
		case d.Local.IsValid() && d.Remote.IsValid() && d.Local.Is4() != d.Remote.Is4():
			return "remote", fmt.Sprintf("the remote %v is not of the family of local, %v", d.Remote, d.Local)
		}
		return checkTTL(d)
	}
}

// headers are how many bytes of a packet of the link below a tunnel takes, where l is what
// it is already, if that is there: what is said of its type is without a key, and over IPv4
// where it can be over both.
func (i *Iface) headers(l *rtnl.Link) int {
	kind := KindOf(i.Kind)
	n, six, key := kind.headers, i.Data.Local.Is6() || i.Data.Remote.Is6(), i.Data.Key != 0
	if l != nil { // it stays in its family, and keeps what is not said
		six = six || l.Data.Local.Is6() || l.Data.Remote.Is6()
		key = key || l.Data.Key != 0 && !i.dropsField("key")
	}
	if six && !kind.Here {
		n += 20
	}
	if key {
		n += keyLen
	}
	return n
}

// keyLen is what a key takes in the header of GRE.
const keyLen = 4

func checkTTL(d *rtnl.LinkData) (field, text string) {
	switch {
	case d.TTL < 0 || d.TTL > 255:
		return "ttl", fmt.Sprintf("the TTL %d is none: it is from 1 to 255, or 0", d.TTL)
	case d.TOS < 0 || d.TOS > 255:
		return "tos", fmt.Sprintf("the TOS %d is none: it is from 1 to 255, or 0", d.TOS)
	}
	return "", ""
}

// ipTunnelKinds carry packets in IP.
var ipTunnelKinds = []*Kind{
	ipTunnel("gre", false, false, 24), ipTunnel("gretap", false, true, 38),
	ipTunnel("ip6gre", true, false, 52), ipTunnel("ip6gretap", true, true, 66),
	ipTunnel("ipip", false, false, 20), ipTunnel("sit", false, false, 20),
}

// ipTunnel is a tunnel over one family, which carries frames or packets.
func ipTunnel(name string, six, frames bool, headers int) *Kind {
	k := &Kind{
		Name: name, Fields: []string{"parent", "local", "remote", "key", "ttl", "tos"}, InPlace: []string{"local", "remote", "key", "ttl", "tos"},
		headers: headers, silent: true, Here: true, resizes: true, byRoute: six,
		Once: &Once{"", func(d rtnl.LinkData) string { return fmt.Sprintf("%s from %v to %v", A(name), d.Local, d.Remote) },
			A(name) + " is there once for each local, remote and key"},
		Check: func(d *rtnl.LinkData) (field, text string) {
			switch {
			case d.Local.IsValid() && d.Local.Is4() == six:
				return "local", fmt.Sprintf("%v is not of the family that %s is made of", d.Local, A(name))
			case d.Remote.IsValid() && d.Remote.Is4() == six:
				return "remote", fmt.Sprintf("%v is not of the family that %s is made of", d.Remote, A(name))
			case frames && !d.Remote.IsValid():
				return "remote", fmt.Sprintf("%s needs a remote", A(name))
			case d.Key < 0:
				return "key", "a key is not negative"
			}
			return checkTTL(d)
		},
		// The kernel makes no point-to-point link of one to anybody, or the other
		// way round.
		differs: func(f *Iface, l *rtnl.Link, dropped Asked) string {
			switch is := l.Data.Remote.IsValid(); {
			case f.Data.Remote.IsValid() && !is:
				return "without a remote"
			case dropped.field("remote") && is:
				return fmt.Sprintf("with the remote %v", l.Data.Remote)
			}
			return ""
		},
	}
	if name == "ipip" || name == "sit" {
		k.Fields = slices.DeleteFunc(k.Fields, func(f string) bool { return f == "key" })
		k.InPlace = slices.DeleteFunc(k.InPlace, func(f string) bool { return f == "key" })
	}
	if !frames {
		k.NoARP, k.NoMAC = true, because(A(name)+" carries packets without hardware addresses")
	}
	return k
}
