package netfile

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/want"
)

// management is the interface of a container to the management network.
const management = "eth0"

// clabRoute is a route that waits for the addresses.
type clabRoute struct {
	spec osl.RouteSpec
	line ast.Node
	text string
}

// means takes a command in as what it means for the network; false where that can not
// be said, so that it is to be run.
func (b *clabBox) means(words []string) bool {
	switch path.Base(words[0]) {
	case "true":
		return true
	case "ip":
		return b.ip(words[1:], 0)
	case "sysctl":
		return b.sysctls(words[1:])
	case "tc":
		return b.qdisc(words[1:])
	case "bridge":
		return b.bridge(words[1:])
	case "brctl":
		switch w := words[1:]; {
		case len(w) == 2 && w[0] == "addbr":
			return b.ip([]string{"link", "add", w[1], "type", "bridge"}, 0)
		case len(w) == 3 && w[0] == "addif":
			return b.ip([]string{"link", "set", w[2], "master", w[1]}, 0)
		}
	case "vconfig":
		if w := words[1:]; len(w) == 3 && w[0] == "add" {
			return b.ip([]string{"link", "add", "link", w[1], "name", w[1] + "." + w[2], "type", "vlan", "id", w[2]}, 0)
		}
	}
	return false
}

// word returns the one of a list that a word of ip is short for: the first that
// begins so.
func wordOf(w string, list ...string) string {
	for _, l := range list {
		if w != "" && strings.HasPrefix(l, w) {
			return l
		}
	}
	return ""
}

// long returns the word of a list that one is short for, else the word itself: ip has
// some that it knows by their beginning, and others by the whole of them.
func long(w string, list ...string) string {
	if len(w) > 1 {
		return cmp.Or(wordOf(w, list...), w)
	}
	return w
}

func (b *clabBox) ip(w []string, family int) bool {
	for len(w) > 0 && strings.HasPrefix(w[0], "-") {
		switch w[0] {
		case "-4":
			family = 4
		case "-6":
			family = 6
		default:
			return false
		}
		w = w[1:]
	}
	if len(w) < 2 {
		return false
	}
	object, verb, rest := wordOf(w[0], "address", "route", "rule", "neighbor", "neighbour", "link", "tunnel"), w[1], w[2:]
	switch object {
	case "address":
		if v := wordOf(verb, "add", "change", "replace", "delete"); v == "add" || v == "replace" {
			return b.address(rest)
		}
	case "link":
		switch wordOf(verb, "add", "set") {
		case "add":
			return b.linkAdd(rest)
		case "set":
			return b.linkSet(rest)
		}
	case "tunnel":
		if i := slices.Index(rest, "mode"); wordOf(verb, "add") != "" && i >= 0 && i+1 < len(rest) {
			options := slices.Delete(slices.Clone(rest), i, i+2)
			return len(options) > 0 && b.linkAdd(slices.Concat(options[:1], []string{"type", rest[i+1]}, options[1:]))
		}
	case "rule":
		if wordOf(verb, "add") != "" {
			return b.rule(rest, family)
		}
	case "route":
		switch v := wordOf(verb, "add", "append", "change", "replace", "delete"); v {
		case "add", "replace", "append":
			return b.route(v, rest, family)
		case "delete":
			return b.routeAway(rest, family)
		}
	case "neighbor", "neighbour":
		if v := wordOf(verb, "add", "replace"); v != "" {
			return b.neighbor(rest)
		}
	}
	return false
}

// options reads pairs of words. take gets each name, and a function that returns the
// word after it; it returns false for what it does not know.
func options(w []string, take func(name string, next func() string) bool) bool {
	for len(w) > 0 {
		name := w[0]
		w = w[1:]
		lacks := false
		ok := take(name, func() string {
			if len(w) == 0 {
				lacks = true
				return ""
			}
			v := w[0]
			w = w[1:]
			return v
		})
		if !ok || lacks {
			return false
		}
	}
	return true
}

// prefix reads an address with or without a length. With one, zeros at the end may
// be missing, as in 10/8.
func prefix(text string) (netip.Prefix, bool) {
	if a, bits, ok := strings.Cut(text, "/"); ok && !strings.Contains(a, ":") && a != "" {
		text = a + strings.Repeat(".0", max(0, 3-strings.Count(a, "."))) + "/" + bits
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// known returns an interface that a command is about; lo is there always.
func (b *clabBox) known(name string) *osl.InterfaceSpec {
	if f := b.has(name); f != nil || name != "lo" {
		return f
	}
	return b.iface(b.line, "lo")
}

// unmanaged reports that a command is about the management network, or about the end of
// a link that is passed over, and notes it.
func (b *clabBox) unmanaged(name string) bool {
	switch {
	case b.has(name) != nil:
		return false
	case slices.Contains(b.lacks, name):
		b.d.note(b.line, "what is about "+name, "its link is passed over")
	case name == management:
		b.d.note(b.line, managed, noManagement)
	default:
		return false
	}
	return true
}

func (b *clabBox) pathOf(dev string) string {
	return fmt.Sprintf("%s.interfaces[%d]", b.path, slices.IndexFunc(b.spec.Interfaces, func(f osl.InterfaceSpec) bool { return f.Name == dev }))
}

// setLink sets what is of an interface of any type; false for another word.
func setLink(f *osl.InterfaceSpec, name string, next func() string) bool {
	on := map[string]**bool{"promisc": &f.Promisc, "allmulticast": &f.AllMulticast, "arp": &f.ARP}
	count := map[string]*int{"mtu": &f.MTU, "numtxqueues": &f.NumTxQueues, "numrxqueues": &f.NumRxQueues, "gso_max_size": &f.GSOMaxSize, "gso_max_segs": &f.GSOMaxSegs,
		"gro_max_size": &f.GROMaxSize, "gso_ipv4_max_size": &f.GSOIPv4MaxSize, "gro_ipv4_max_size": &f.GROIPv4MaxSize}
	switch name = long(name, "address", "addrgenmode", "txqueuelen", "txqlen", "alias", "numtxqueues", "numrxqueues"); {
	case on[name] != nil:
		text := next()
		is := text == "on"
		*on[name] = &is
		return is || text == "off"
	case count[name] != nil:
		return number(count[name], next())
	}
	switch name {
	case "txqueuelen", "txqlen", "qlen":
		f.TxQueueLen = new(int)
		return number(f.TxQueueLen, next())
	case "group":
		text := next()
		if f.Group = new(int); text == "default" {
			return true
		}
		return number(f.Group, text)
	case "address":
		return f.MAC.UnmarshalText([]byte(next())) == nil
	case "addrgenmode":
		f.AddrGenMode = next()
		return f.AddrGenMode != "stable_secret"
	case "alias":
		f.Note = next()
	case "up":
		f.Down = false
	case "down":
		f.Down = true
	default:
		return false
	}
	return true
}

func (b *clabBox) linkSet(w []string) bool {
	if len(w) > 0 && w[0] == "dev" {
		w = w[1:]
	}
	if len(w) == 0 || b.unmanaged(w[0]) {
		return len(w) > 0
	}
	f := b.known(w[0])
	if f == nil {
		return false
	}
	set := *f
	w = w[1:]
	if i := slices.IndexFunc(w, func(s string) bool { return long(s, "type") == "type" }); i >= 0 {
		if i+1 == len(w) || w[i+1] != set.Type || set.Type != "bridge" && set.Type != "bond" {
			return false
		}
		if set.Type == "bridge" && !bridgeOptions(&set, w[i+2:]) || set.Type == "bond" && !b.bondOptions(&set, w[i+2:]) {
			return false
		}
		w = w[:i]
	}
	if !options(w, func(name string, next func() string) bool {
		switch name = long(name, "master", "nomaster"); name {
		case "master", "vrf":
			set.Master = next()
			to := b.has(set.Master)
			if to != nil && to.Type == "bond" {
				set.Down = false // a bond sets its ports up
			}
			return to != nil
		case "nomaster":
			set.Master = ""
			return true
		case "multicast":
			return next() == "on"
		}
		return setLink(&set, name, next)
	}) {
		return false
	}
	if set.Name == "lo" && set.Down {
		return false
	}
	b.fitNote(&set)
	*f = set
	return true
}

// fitNote passes a note over that osl can not keep. The command is not to be run for that: in
// the alias of a link osl keeps what the link is.
func (b *clabBox) fitNote(f *osl.InterfaceSpec) {
	if want.ValidNote(f.Note) != nil {
		b.d.note(b.line, fmt.Sprintf("the alias %.40q", f.Note), "a note of osl is of up to 160 printable characters of ASCII, without a semicolon")
		f.Note = ""
	}
}

func (b *clabBox) linkAdd(w []string) bool {
	f := osl.InterfaceSpec{}
	i := slices.IndexFunc(w, func(s string) bool { return long(s, "type") == "type" })
	if i < 0 || i+1 == len(w) {
		return false
	}
	if !options(w[:i], func(name string, next func() string) bool {
		switch long(name, "link") {
		case "link", "l":
			f.Parent = next()
			return b.has(f.Parent) != nil
		case "name", "dev":
			f.Name = next()
			return true
		}
		if setLink(&f, name, next) {
			return true
		}
		if f.Name != "" {
			return false
		}
		f.Name = name
		return true
	}) {
		return false
	}
	b.fitNote(&f)
	f.Type = w[i+1]
	peer := ""
	if !typeOptions(&f, w[i+2:], &peer, b) || f.Name == "" || b.has(f.Name) != nil {
		return false
	}
	for _, name := range []string{f.Name, peer} {
		if name != "" {
			x := b.iface(b.line, name)
			if name == f.Name {
				*x = f
			}
		}
	}
	if peer != "" {
		b.has(f.Name).Peer = osl.Endpoint{Sandbox: b.spec.Name, Interface: peer}
	}
	return true
}

func (b *clabBox) neighbor(w []string) bool {
	n := osl.NeighborSpec{}
	if !options(w, func(name string, next func() string) bool {
		var err error
		switch name {
		case "lladdr":
			err = n.MAC.UnmarshalText([]byte(next()))
		case "dev":
			n.Dev = next()
		case "nud":
			return next() == "permanent"
		case "to":
			name = next()
			fallthrough
		default:
			n.IP, err = netip.ParseAddr(name)
		}
		return err == nil
	}) || !n.IP.IsValid() || n.MAC == nil || b.has(n.Dev) == nil {
		return false
	}
	b.spec.Neighbors = append(b.spec.Neighbors, n)
	return true
}
