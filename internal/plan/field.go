package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// field is a field of an interface that makes a link of its kind.
type field struct {
	name string                         // in files
	word string                         // of ip, if it is another
	said string                         // in a sentence, if it is another
	at   func(d *rtnl.LinkData) any     // a pointer to it
	show func(text string) string       // what ip is told, if that is not the word and the text
	gone func(want, have string) string // the text that makes want of have, if it is not want
}

// fields are all such fields.
var fields = []field{
	{name: "vni", word: "id", said: "VNI", at: func(d *rtnl.LinkData) any { return &d.VNI }},
	{name: "vlan", word: "id", said: "tag", at: func(d *rtnl.LinkData) any { return &d.VLAN }},
	{name: "protocol", at: func(d *rtnl.LinkData) any { return &d.Protocol }},
	{name: "ingress_qos_map", word: "ingress-qos-map", at: func(d *rtnl.LinkData) any { return &d.IngressQoS }, gone: dropQoS},
	{name: "egress_qos_map", word: "egress-qos-map", at: func(d *rtnl.LinkData) any { return &d.EgressQoS }, gone: dropQoS},
	{name: "local", at: func(d *rtnl.LinkData) any { return &d.Local }},
	{name: "remote", at: func(d *rtnl.LinkData) any { return &d.Remote }, show: func(text string) string {
		if a, err := netip.ParseAddr(text); err == nil && a.IsMulticast() {
			return " group " + text
		}
		return " remote " + text
	}},
	{name: "port", word: "dstport", at: func(d *rtnl.LinkData) any { return &d.Port }},
	{name: "mode", at: func(d *rtnl.LinkData) any { return &d.Mode }},
	{name: "flags", at: func(d *rtnl.LinkData) any { return &d.Flags }, show: func(text string) string { return " " + text }},
	{name: "table", at: func(d *rtnl.LinkData) any { return &d.Table }},
	{name: "miimon", at: func(d *rtnl.LinkData) any { return &d.MIIMon }},
	{name: "key", at: func(d *rtnl.LinkData) any { return &d.Key }},
	{name: "ttl", at: func(d *rtnl.LinkData) any { return &d.TTL }},
	{name: "tos", at: func(d *rtnl.LinkData) any { return &d.TOS }, show: func(text string) string { // hexadecimal, also without 0x
		n, _ := strconv.Atoi(text)
		return fmt.Sprintf(" tos %#x", n)
	}},
	{name: "learning", at: func(d *rtnl.LinkData) any { return &d.Learning }, show: func(text string) string {
		return map[string]string{"on": " learning", "off": " nolearning"}[text]
	}},
	{name: "policy", at: func(d *rtnl.LinkData) any { return &d.Policy }, show: func(text string) string { return " " + text }},
	{name: "peer_policy", at: func(d *rtnl.LinkData) any { return &d.PeerPolicy }, show: func(text string) string { return " peer " + text }},
	{name: "owner", word: "user", at: func(d *rtnl.LinkData) any { return &d.Owner }},
	{name: "owner_group", word: "group", at: func(d *rtnl.LinkData) any { return &d.OwnerGroup }},
	{name: "multi_queue", at: func(d *rtnl.LinkData) any { return &d.MultiQueue }, show: func(string) string { return " multi_queue" }},
	{name: "vnet_hdr", at: func(d *rtnl.LinkData) any { return &d.VNetHdr }, show: func(string) string { return " vnet_hdr" }},
	{name: "numtxqueues", at: func(d *rtnl.LinkData) any { return &d.TxQueues }, show: func(string) string { return "" }},
	{name: "numrxqueues", at: func(d *rtnl.LinkData) any { return &d.RxQueues }, show: func(string) string { return "" }},
}

// fieldOf returns the field with a name, nil where it is no part of rtnl.LinkData.
func fieldOf(name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

// label is what it is called in a sentence.
func (x *field) label() string { return orElse(x.said, strings.ReplaceAll(x.name, "_", " ")) }

// text returns it as a person writes it, empty where nothing is said.
func (x *field) text(d *rtnl.LinkData) string {
	switch p := x.at(d).(type) {
	case *int:
		if *p != 0 {
			return strconv.Itoa(*p)
		}
	case *string:
		return *p
	case *bool:
		if *p {
			return "true"
		}
	case *netip.Addr:
		if p.IsValid() {
			return p.String()
		}
	}
	return ""
}

// copy copies it.
func (x *field) copy(to, from *rtnl.LinkData) {
	switch p := x.at(to).(type) {
	case *int:
		*p = *x.at(from).(*int)
	case *string:
		*p = *x.at(from).(*string)
	case *bool:
		*p = *x.at(from).(*bool)
	case *netip.Addr:
		*p = *x.at(from).(*netip.Addr)
	}
}

// command appends what ip is told of it.
func (x *field) command(b *strings.Builder, d *rtnl.LinkData) {
	switch text := x.text(d); {
	case text == "":
	case x.show != nil:
		b.WriteString(x.show(text))
	default:
		fmt.Fprintf(b, " %s %s", orElse(x.word, x.name), text)
	}
}

// Given returns the names of the fields of which something is said.
func Given(d *rtnl.LinkData) (list []string) {
	for i := range fields {
		if fields[i].text(d) != "" {
			list = append(list, fields[i].name)
		}
	}
	return list
}

// Fill fills in what is not said.
func (k *Kind) Fill(d *rtnl.LinkData) {
	for _, name := range k.Fields {
		if x := fieldOf(name); x != nil && x.text(d) == "" {
			x.copy(d, &k.Defaults)
		}
	}
}

// Own returns what makes a link of its kind, and nothing else of what it says. One queue
// is nothing to tell of.
func Own(l *rtnl.Link) (d rtnl.LinkData) {
	for _, name := range KindOf(l.Kind).Fields {
		if x := fieldOf(name); x != nil && !(slices.Contains(queueFields, name) && x.text(&l.Data) == "1") {
			x.copy(&d, &l.Data)
		}
	}
	return d
}

// Details returns what Own does, by the names of files.
func Details(l *rtnl.Link) map[string]string {
	var m map[string]string
	d := Own(l)
	for _, name := range Given(&d) {
		if m == nil {
			m = map[string]string{}
		}
		m[name] = fieldOf(name).text(&d)
	}
	return m
}

// IsOnParent reports whether a link lies on another one of its own namespace, and
// Details has something of it.
func IsOnParent(l *rtnl.Link) bool {
	return !l.ParentNS && l.Parent != 0 && slices.Contains(KindOf(l.Kind).Fields, "parent") && Details(l) != nil
}

// dropQoS makes a mapping of another one: what it does not have becomes 0.
func dropQoS(want, have string) string {
	list := rtnl.QoS(want)
	for _, h := range rtnl.QoS(have) {
		if !slices.ContainsFunc(list, func(m [2]uint32) bool { return m[0] == h[0] }) {
			list = append(list, [2]uint32{h[0], 0})
		}
	}
	return rtnl.QoSText(list)
}
