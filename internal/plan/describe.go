package plan

import (
	"fmt"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// Said is what a step does: to an object of a kind, what that was before and is
// afterwards, in the words of the ip command. Before is empty of what is made, After of
// what is taken away.
type Said struct{ Object, Before, After string }

// Describe says what a step does. What was before it is in what takes it back.
func Describe(op Op) Said {
	object, text, there := value(op.Do, op.Dev)
	s := Said{Object: object}
	if there {
		s.After = text
	} else {
		s.Before = text
	}
	for _, u := range op.Undo {
		if o, was, there := value(u.Do, orElse(u.Dev, op.Dev)); o == object && there && u.NS == op.NS {
			s.Before = was
			break
		}
	}
	return s
}

// value says what an action is about, what that is to be, and whether it is to be
// there.
func value(a Action, dev string) (object, text string, there bool) {
	line, _, _ := strings.Cut(a.Command(dev), "\n")
	after := func() string { return cutAfter(line, "dev "+shell.Quote(dev)+" ") }
	switch a := a.(type) {
	case MakeNS:
		return "sandbox", "", true
	case NewLink:
		return "link", "type " + a.Link.Kind, true
	case NewTun:
		return "link", "type " + a.Kind, true
	case DelLink:
		return "link", "", false
	case SetLink:
		a.Tagged = false // beside others the alias keeps in mind what they say
		line, _, _ = strings.Cut(a.Command(dev), "\n")
		if rest, is := strings.CutPrefix(line, "sysctl -w net."); is {
			return "setting", rest, true
		}
		return "link", after(), true
	case ChangeLink, SetBridge, SetPort:
		return "link", after(), true
	case NewAddr:
		return "address", addrText(a.Addr) + addrOptions(a.Addr), true
	case ReplaceAddr:
		return "address", addrText(a.Addr) + addrOptions(a.Addr), true
	case EnsureAddr:
		return "address", a.Addr.Prefix.String(), true
	case DelAddr:
		return "address", addrText(a.Addr), false
	case NewRoute, ReplaceRoute:
		return "route", cutAfter(line, "route add ", "route replace "), true
	case DelRoute:
		return "route", cutAfter(line, "route del "), false
	case PutBack:
		if addr, is := a.Kept.Addr(); is {
			return value(NewAddr{addr}, dev)
		}
		if _, is := a.Kept.Route(); is {
			return "route", cutAfter(line, "route append "), true
		}
	case NewNexthop:
		return "nexthop", cutAfter(line, "nexthop add "), true
	case ReplaceNexthop:
		return "nexthop", cutAfter(line, "nexthop replace "), true
	case DelNexthop:
		return "nexthop", cutAfter(nexthopCommand("del", a.Nexthop), "nexthop del "), false
	case NewRule:
		return "rule", cutAfter(line, "rule add "), true
	case DelRule:
		return "rule", cutAfter(line, "rule del "), false
	case NewNeigh:
		return "neighbor", neighText(a.Neigh), true
	case DelNeigh:
		return "neighbor", neighText(a.Neigh), false
	case Sysctl:
		return "setting", settingText(a.At(dev), a.Value), true
	case IPv6:
		return "setting", settingText(disableIPv6(dev), fmt.Sprint(b2i(!a.On))), true
	case SetVLANs:
		return "vlan", vlansText(a.List), true
	case DelVLANs:
		return "vlan", vlansText(a.List), false
	case NewQdisc, ChangeQdisc, ReplaceQdisc:
		return "impairment", cutAfter(line, ": "), true
	case DelQdisc:
		return "impairment", "", false
	case Offloads:
		return "offloads", cutAfter(line, "ethtool -K "+shell.Quote(dev)+" "), true
	case SetWireGuard:
		text = cutAfter(line, "wg set "+shell.Quote(dev)+" ")
		if a.removes() {
			return "wireguard", strings.ReplaceAll(text, " remove", ""), false
		}
		return "wireguard", text, true
	case NewAltName:
		return "altname", strings.Join(a.Names, " "), true
	case DelAltName:
		return "altname", strings.Join(a.Names, " "), false
	case Masquerade:
		var list []string
		for _, m := range a.Set {
			list = append(list, m.Subnet.String()+" "+m.Uplink)
		}
		return "masquerade", strings.Join(list, ", "), len(list) > 0
	}
	return "", line, true
}

// cutAfter returns what comes in a command after the first of some words that is
// there, else all.
func cutAfter(line string, words ...string) string {
	for _, w := range words {
		if _, rest, ok := strings.Cut(line, w); ok {
			line = rest
			break
		}
	}
	for _, mine := range [...]string{" proto", " protocol"} { // that it is osl's
		line = strings.Replace(line, fmt.Sprint(mine, " ", rtnl.Protocol), "", 1)
	}
	return line
}

func settingText(path, value string) string {
	if !strings.Contains(path, ".") {
		path = strings.ReplaceAll(path, "/", ".")
	}
	return path + "=" + value
}

func neighText(n rtnl.Neigh) string {
	var words []string
	if n.IP.IsValid() && !n.FDB {
		words = append(words, n.IP.String(), "lladdr", n.MAC.String())
	} else {
		if len(n.MAC) > 0 {
			words = append(words, n.MAC.String())
		}
		if n.IP.IsValid() {
			words = append(words, "dst", n.IP.String())
		}
	}
	if n.VLAN != 0 {
		words = append(words, "vlan", fmt.Sprint(n.VLAN))
	}
	return strings.Join(words, " ")
}

func vlansText(list []rtnl.VLAN) string {
	var words []string
	for _, v := range list {
		words = append(words, vlanText(v))
	}
	return strings.Join(words, " ")
}
