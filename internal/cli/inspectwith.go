package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/plan"
	wanted "github.com/seed59451c2b/osl/internal/want"
)

// settingsOf are the settings of an interface, in the words of a file.
type settingsOf struct {
	AltNames         []string `json:"altnames,omitempty"`
	Group            int      `json:"group,omitempty"`
	Promisc          bool     `json:"promisc,omitempty"`
	AllMulticast     bool     `json:"allmulticast,omitempty"`
	ARP              bool     `json:"arp"`
	TxQueueLen       int      `json:"txqueuelen"`
	AddrGenMode      string   `json:"addrgenmode,omitempty"`
	GSOMaxSize       int      `json:"gso_max_size,omitempty"`
	GSOMaxSegs       int      `json:"gso_max_segs,omitempty"`
	GROMaxSize       int      `json:"gro_max_size,omitempty"`
	GSOIPv4MaxSize   int      `json:"gso_ipv4_max_size,omitempty"`
	GROIPv4MaxSize   int      `json:"gro_ipv4_max_size,omitempty"`
	IPv6             string   `json:"ipv6,omitempty"`
	DisableARPForVIP bool     `json:"disable_arp_for_vip,omitempty"`
	Note             string   `json:"note,omitempty"`
}

// withRows tell what a file may say of interfaces that no other table has, in the words of
// that, where it is not what the kernel makes.
func withRows(st *osl.Status) (rows [][]string) {
	for _, i := range st.Interfaces {
		ipv6 := i.IPv6
		if st.Name == osl.HostName && i.Origin == "" || ipv6 == "link-local" && hasIPv6(i) { // as the kernel, or the address, has it
			ipv6 = ""
		}
		said := settingsOf{i.AltNames, i.Group, i.Promisc, i.AllMulticast, i.ARP, i.TxQueueLen, i.AddrGenMode, i.GSOMaxSize, i.GSOMaxSegs, i.GROMaxSize,
			i.GSOIPv4MaxSize, i.GROIPv4MaxSize, ipv6, i.DisableARPForVIP, i.Note}
		words := fields(said, usualLink(i))
		add := func(what string, list []string) {
			if len(list) > 0 {
				words = append(words, what+": "+strings.Join(list, " "))
			}
		}
		if i.Impair != nil {
			add("impair", fields(i.Impair, nil))
		}
		if i.Bridge != nil {
			add("bridge", fields(i.Bridge, usualBridge()))
		}
		if i.BridgePort != nil {
			add("bridge_port", fields(i.BridgePort, usualPort(i)))
		}
		add("offloads", settings(i.AskedOffloads))
		add("sysctls", settings(i.Sysctls))
		for _, p := range slices.Concat(i.Addresses, i.Aliases) {
			add(p.String(), fields(i.AddressOptions[p], nil))
		}
		if len(words) > 0 {
			rows = append(rows, []string{i.Name, strings.Join(words, ", ")})
		}
	}
	return rows
}

// hasIPv6 reports whether an interface has an IPv6 address that somebody gave it.
func hasIPv6(i osl.InterfaceStatus) bool {
	for _, p := range slices.Concat(i.Addresses, i.Aliases) {
		if p.Addr().Is6() && !slices.Contains(i.Others, p) {
			return true
		}
	}
	return false
}

// usualLink is what the kernel makes of a link of its type.
func usualLink(i osl.InterfaceStatus) map[string]string {
	kind := plan.KindOf(i.Type)
	usual := usualOf(settingsOf{}, wanted.LinkOptionsOf(kind.UsualLink().Options()))
	size := func(all int) string { return fmt.Sprint(plan.ImpliedSize(uint32(all))) }
	usual["gso_ipv4_max_size"], usual["gro_ipv4_max_size"] = size(i.GSOMaxSize), size(i.GROMaxSize)
	usual["txqueuelen"], usual["ipv6"] = strconv.Itoa(kind.UsualQueue()), "off"
	if i.Details["mode"] == "l2" { // of an ipvlan or a netkit, which have none in the others
		usual["arp"] = "true"
	}
	if kind.NoAddrGen {
		usual["addrgenmode"] = "none"
	}
	return usual
}

// usualPort is what it makes of a port, and usualBridge of a bridge. VLANs have a table of
// their own.
func usualPort(i osl.InterfaceStatus) map[string]string {
	usual := usualOf(osl.BridgePortSpec{}, *wanted.BridgePortOf(plan.UsualPort.Options(), nil))
	if cost := i.BridgePort.Cost; cost != nil && plan.IsUsualCost(i.Type, uint32(*cost)) {
		usual["cost"] = strconv.Itoa(*cost)
	}
	usual["vlans"], usual["pvid"] = anything, anything
	return usual
}

func usualBridge() map[string]string {
	usual := usualOf(osl.BridgeSpec{}, *wanted.BridgeOf(plan.UsualBridge.Options(), nil))
	usual["vlans"], usual["pvid"] = anything, anything
	return usual
}

// usualOf are the values of usual, by the names that a file has for the fields of document
// that are called the same.
func usualOf(document, usual any) map[string]string {
	words := map[string]string{}
	for f := range reflect.TypeOf(document).Fields() {
		if v := reflect.Indirect(reflect.ValueOf(usual).FieldByName(f.Name)); v.IsValid() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			words[name] = fmt.Sprint(v)
		}
	}
	return words
}

// anything is usual of what is told elsewhere.
const anything = "*"

// settings are those of a map, with their values.
func settings[V any](all map[string]V) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, fmt.Sprintf("%s=%v", name, all[name]))
	}
	return list
}

// fields are those of a document that say something, with what they say, where that is not
// the usual.
func fields(document any, usual map[string]string) (words []string) {
	text, err := json.Marshal(document)
	said := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err == nil {
		err = d.Decode(&said)
	}
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		value := fmt.Sprint(said[name])
		if list, is := said[name].([]any); is {
			value = strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
		}
		switch {
		case usual[name] == value || usual[name] == anything:
		case value == "true":
			words = append(words, name)
		case strings.Contains(value, " "):
			words = append(words, name+"="+strconv.Quote(value))
		default:
			words = append(words, name+"="+value)
		}
	}
	return words
}
