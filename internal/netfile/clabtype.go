package netfile

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl"
)

// number reads a number into to.
func number(to *int, text string) bool {
	n, err := strconv.Atoi(text)
	*to = n
	return err == nil
}

// typeOptions reads what stands behind the type of a link that is added.
func typeOptions(f *osl.InterfaceSpec, w []string, peer *string, b *clabBox) bool {
	switch f.Type {
	case "dummy", "ifb", "vcan":
		return len(w) == 0
	case "bridge":
		return bridgeOptions(f, w)
	case "veth":
		if len(w) == 3 && w[0] == "peer" && w[1] == "name" {
			w = []string{"peer", w[2]}
		}
		if len(w) != 2 || w[0] != "peer" || b.has(w[1]) != nil {
			return false
		}
		*peer = w[1]
		return true
	case "bond":
		return b.bondOptions(f, w)
	case "vrf":
		return len(w) == 2 && w[0] == "table" && number(&f.Table, w[1])
	case "vlan":
		return f.Parent != "" && options(w, func(name string, next func() string) bool {
			switch name = long(name, "protocol"); name {
			case "id":
				return number(&f.VLAN, next())
			case "protocol":
				if f.Protocol = next(); strings.EqualFold(f.Protocol, "802.1q") {
					f.Protocol = ""
				}
				return f.Protocol == "" || f.Protocol == "802.1ad"
			}
			return false
		})
	case "macvlan", "macvtap", "ipvlan", "ipvtap":
		isMAC := strings.HasPrefix(f.Type, "mac")
		if isMAC {
			f.Mode = "vepa" // the kernel's
		}
		return f.Parent != "" && options(w, func(name string, next func() string) bool {
			switch long(name, "mode") {
			case "mode", "m":
				f.Mode = next()
			case "bridge", "private", "vepa":
				f.Flags = name
				return !isMAC
			default:
				return false
			}
			return true
		})
	case "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit":
		return options(w, func(name string, next func() string) bool { return name != "group" && b.tunnel(f, name, next) })
	case "geneve":
		return options(w, func(name string, next func() string) bool {
			switch name {
			case "id", "vni":
				return number(&f.VNI, next())
			case "dstport":
				return number(&f.Port, next())
			}
			return name != "key" && name != "dev" && name != "local" && name != "group" && b.tunnel(f, name, next)
		})
	case "vxlan":
		f.Port = 8472 // the kernel's, where none is said
		return options(w, func(name string, next func() string) bool {
			switch name {
			case "id", "vni":
				return number(&f.VNI, next())
			case "dstport":
				return number(&f.Port, next())
			case "learning", "nolearning":
				learns := name == "learning"
				f.Learning = &learns
				return true
			}
			return name != "key" && b.tunnel(f, name, next)
		})
	}
	return false
}

// bondOptions reads the options of a bond; those that osl has not are noted.
func (b *clabBox) bondOptions(f *osl.InterfaceSpec, w []string) bool {
	return options(w, func(name string, next func() string) bool {
		switch value := next(); name {
		case "mode":
			f.Mode = value
		case "miimon":
			return number(&f.MIIMon, value)
		default:
			b.d.note(b.line, "bond "+name+" "+value, notKnown)
		}
		return true
	})
}

// tunnel reads an option that tunnels have.
func (b *clabBox) tunnel(f *osl.InterfaceSpec, name string, next func() string) bool {
	switch name {
	case "dev":
		f.Parent = next()
		return b.has(f.Parent) != nil
	case "ttl", "hoplimit":
		text := next()
		return text == "inherit" && f.Type != "vxlan" && f.Type != "geneve" || number(&f.TTL, text)
	case "tos", "dsfield", "tclass":
		text := next()
		if text == "inherit" {
			f.TOS = 1
			return true
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 8) // ip reads it so
		f.TOS = int(n)
		return err == nil
	case "key":
		return number(&f.Key, next())
	case "local", "remote", "group":
		text := next()
		if text == "any" {
			return true
		}
		a, err := netip.ParseAddr(text)
		if name == "local" {
			f.Local = a
		} else {
			f.Remote = a
		}
		return err == nil
	}
	return false
}

// lastRule is the place that the kernel gives the first rule that has none; each one
// after it comes before those that are there.
const lastRule = 32765

// rule takes a rule of policy routing in.
func (b *clabBox) rule(w []string, family int) bool {
	r := osl.RuleSpec{Priority: lastRule}
	for _, o := range b.spec.Rules {
		r.Priority = min(r.Priority, o.Priority-1)
	}
	if family == 6 {
		r.Family = "ipv6"
	}
	number := func(to *uint32, text string) bool {
		n, err := strconv.ParseUint(text, 0, 32)
		*to = uint32(n)
		return err == nil
	}
	if !options(w, func(name string, next func() string) bool {
		switch name {
		case "not":
			r.Not = true
		case "ipproto":
			r.IPProto = next()
		case "sport":
			r.SPort = next()
		case "dport":
			r.DPort = next()
		case "goto":
			return number(&r.Goto, next())
		case "suppress_prefixlength", "sup_pl":
			n, err := strconv.Atoi(next())
			r.SuppressPrefixLength = &n
			return err == nil
		case "l3mdev":
			r.L3MDev = true
		case "blackhole", "unreachable", "prohibit", "nop":
			r.Action = name
		case "type":
			name = next()
			r.Action = name
			return slices.Contains([]string{"blackhole", "unreachable", "prohibit", "nop"}, name)
		case "from", "to":
			text := next()
			if text == "all" {
				return true
			}
			p, ok := prefix(text)
			if name == "from" {
				r.From = p
			} else {
				r.To = p
			}
			return ok
		case "iif":
			r.IIF = next()
		case "oif":
			r.OIF = next()
		case "fwmark":
			mark, mask, has := strings.Cut(next(), "/")
			return number(&r.FWMark, mark) && (!has || number(&r.FWMask, mask))
		case "table", "lookup":
			text := next()
			return text == "main" || number(&r.Table, text)
		case "priority", "pref", "preference", "order", "prio":
			return number(&r.Priority, next()) && r.Priority > 0
		default:
			return false
		}
		return true
	}) {
		return false
	}
	if r.Family == "" && !r.From.IsValid() && !r.To.IsValid() {
		r.Family = "ipv4"
	}
	b.d.at(b.path+".rules["+strconv.Itoa(len(b.spec.Rules))+"]", b.line)
	b.spec.Rules = append(b.spec.Rules, r)
	return true
}
