package cli

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// notShown are the fields of a file that osl inspect does not name, with the reason.
var notShown = map[string]string{
	"Network.links":                        "its ends are shown, each in its sandbox",
	"Network.segments":                     "a segment is a bridge of the sandbox NAME.segments",
	"SegmentSpec.name":                     "it is the name of that",
	"SegmentSpec.subnet":                   "it acts at creation: the interfaces have addresses of it",
	"InterfaceSpec.segment":                "the interface is a veth, as its other end, in that sandbox, is a port",
	"InterfaceSpec.subnet":                 "it acts at creation: the interface has an address of it",
	"InterfaceSpec.mac_policy":             "it acts at creation: the interface has the hardware address that comes of it",
	"InterfaceSpec.peer":                   "the kernel tells the index of the other end; whose that is takes a look into all sandboxes, which osl export does",
	"InterfaceSpec.peer_master":            "it is of the end on the host, which osl inspect host shows as a port",
	"InterfaceSpec.shared_subnet":          "it lets a file be applied, and makes nothing",
	"WireGuardSpec.private_key":            "a secret: its public key is shown",
	"WireGuardSpec.private_key_file":       "a secret: its public key is shown",
	"WireGuardPeerSpec.interface":          "the peer has the public key of that",
	"WireGuardPeerSpec.preshared_key":      "a secret: that there is one is shown",
	"WireGuardPeerSpec.preshared_key_file": "a secret: that there is one is shown",
}

// leaf is one value of a network, by the type and the name of its field.
type leaf struct{ field, sandbox, iface, value string }

// leaves lists all values of what a file says.
func leaves(v reflect.Value, at leaf, f func(leaf)) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if _, is := v.Interface().(encoding.TextMarshaler); !is {
		switch v.Kind() {
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[osl.Spec]() {
				at.sandbox = v.FieldByName("Name").String()
			}
			if v.Type() == reflect.TypeFor[osl.InterfaceSpec]() {
				at.iface = v.FieldByName("Name").String()
			}
			for i := range v.NumField() {
				if name := fieldName(v.Type(), i); !v.Field(i).IsZero() {
					at := at
					at.field = name
					leaves(v.Field(i), at, f)
				}
			}
			return
		case reflect.Slice:
			for i := range v.Len() {
				leaves(v.Index(i), at, f)
			}
			return
		case reflect.Map:
			for _, key := range v.MapKeys() {
				if v.Type().Elem().Kind() == reflect.Struct {
					leaves(v.MapIndex(key), at, f)
					continue
				}
				at.value = fmt.Sprintf("%v=%v", key, v.MapIndex(key))
				f(at)
			}
			return
		}
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		panic(err)
	}
	at.value = strings.Trim(string(text), `"`)
	f(at)
}

func fieldName(t reflect.Type, i int) string {
	name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
	return t.Name() + "." + name
}

// fieldsOf lists the fields of a type that have a value, those of all types in it too.
func fieldsOf(t reflect.Type, all map[string]bool) {
	for i := range t.NumField() {
		inner := t.Field(i).Type
		for k := inner.Kind(); (k == reflect.Pointer || k == reflect.Slice || k == reflect.Map) && !isText(inner); k = inner.Kind() {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !isText(inner) {
			fieldsOf(inner, all)
		} else {
			all[fieldName(t, i)] = true
		}
	}
}

func isText(t reflect.Type) bool { return t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) }

// shown is how inspect tells a value: the name and the value in -o json, and the words in the
// text, on the line of the interface if it is one's.
type shown struct{ name, value, text string }

// alone are the fields whose value stands alone, in a column or a row.
var alone = []string{"Spec.name", "InterfaceSpec.name", "InterfaceSpec.type", "InterfaceSpec.source", "InterfaceSpec.mac", "InterfaceSpec.mtu", "InterfaceSpec.master",
	"InterfaceSpec.addresses", "InterfaceSpec.aliases", "InterfaceSpec.routes", "WireGuardPeerSpec.public_key", "WireGuardPeerSpec.endpoint", "WireGuardPeerSpec.allowed_ips",
	"BridgeSpec.vlans", "BridgePortSpec.vlans", "BridgeSpec.pvid", "BridgePortSpec.pvid"}

// others are told in other words, where {} is the value.
var others = map[string]shown{
	"Network.name":             {"network", "{}", "network: {}"},
	"Spec.gateway":             {"gateway", "{}", "default {}"},
	"Spec.gateway6":            {"gateway6", "{}", "default fe80::9 e1"},
	"Spec.labels":              {"labels", "", "labels: {}"},
	"InterfaceSpec.down":       {"up", "false", " down "},
	"InterfaceSpec.learning":   {"learning", "off", "learning=off"},
	"InterfaceSpec.note":       {"note", "{}", `note="{}"`},
	"InterfaceSpec.remotes":    {"ip", "{}", "{} 00:00:00:00:00:00 vx2 fdb"},
	"NeighborSpec.fdb":         {"fdb", "true", " fdb"},
	"NeighborSpec.mdb":         {"mdb", "true", " mdb"},
	"NeighborSpec.vlan":        {"vlan", "{}", "VLAN {}"},
	"AddressOptions.valid_lft": {"valid_lft", "39999999*", "valid_lft=39999999"}, // what is left of it
	"RuleSpec.family":          {"family", "ipv6", "(ipv6)"},
	"RuleSpec.fwmark":          {"fwmark", "16", "fwmark 0x10"},
	"RuleSpec.fwmask":          {"fwmask", "255", "mask 0xff"},
	"RuleSpec.not":             {"not", "true", "not from"},
	"RuleSpec.l3mdev":          {"l3mdev", "true", "VRF"},
	"NexthopSpec.family":       {"family", "ipv6", "(ipv6)"},
	"NexthopSpec.blackhole":    {"blackhole", "true", "blackhole"},
	"InterfaceSpec.vnet_hdr":   {"vnet_hdr", "true", "vnet_hdr=true"},
}

func (l leaf) as() shown {
	typ, name, _ := strings.Cut(l.field, ".")
	if s, is := others[l.field]; is {
		if key, value, isMap := strings.Cut(l.value, "="); isMap && s.value == "" {
			s.name, s.value = key, value
		}
		put := func(text string) string { return strings.ReplaceAll(text, "{}", l.value) }
		return shown{s.name, put(s.value), put(s.text)}
	}
	s := shown{name, l.value, name + "=" + l.value}
	if strings.HasSuffix(name, "_qos_map") {
		s.value = strings.Replace(l.value, "=", ":", 1)
		s.text = name + "=" + s.value
		return s
	}
	switch typ {
	case "RouteSpec", "NextHop", "NexthopSpec", "NexthopMember", "NeighborSpec", "RuleSpec", "MasqueradeSpec":
		s.text = l.value
		return s
	}
	if slices.Contains(alone, l.field) {
		s.text = l.value
	} else if key, value, isMap := strings.Cut(l.value, "="); isMap {
		s = shown{key, value, l.value}
	} else if l.value == "true" {
		s.text = name
	}
	return s
}

// has reports whether a document has a field with a value, or in a list; one that ends in * is
// the beginning of it.
func has(doc any, name, value string) bool {
	switch d := doc.(type) {
	case map[string]any:
		for k, v := range d {
			list, isList := v.([]any)
			start, part := strings.CutSuffix(value, "*")
			is := k == name && (fmt.Sprint(v) == value || part && strings.HasPrefix(fmt.Sprint(v), start) || isList && slices.ContainsFunc(list, func(x any) bool { return fmt.Sprint(x) == value }))
			if is || has(v, name, value) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(d, func(x any) bool { return has(x, name, value) })
	}
	return false
}

// Each setting that a file can say is shown by osl inspect, in its text and in -o json, or the
// reason why not is above.
func TestInspectShowsAll(t *testing.T) {
	files, err := filepath.Glob("testdata/inspect/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	lacks := map[string]bool{}
	fieldsOf(reflect.TypeFor[osl.Network](), lacks)
	maps.DeleteFunc(lacks, func(name string, _ bool) bool { return notShown[name] != "" || strings.HasPrefix(name, "Check.") })
	for _, path := range files {
		f, err := netfile.Read(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		leaves(reflect.ValueOf(f.Network), leaf{}, func(l leaf) { delete(lacks, l.field) })
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) { showsAll(t, f.Network) })
	}
	if len(lacks) > 0 {
		t.Errorf("no file of testdata/inspect has a value of %v", slices.Sorted(maps.Keys(lacks)))
	}
}

func showsAll(t *testing.T, net osl.Network) {
	sh(t, "ip link add iasrc type veth peer name iasrcp")
	t.Cleanup(func() { sh(t, "ip link del iasrcp") })
	if net.Sandboxes[0].Interfaces[0].Type == "tap" {
		testnet.NeedTun(t)
	}
	upOrSkip(t, net)
	texts, docs := map[string]string{}, map[string]any{}
	leaves(reflect.ValueOf(net), leaf{}, func(l leaf) {
		if notShown[l.field] != "" {
			return
		}
		box := l.sandbox
		if box == "" {
			box = net.Sandboxes[len(net.Sandboxes)-1].Name
		}
		if texts[box] == "" {
			texts[box] = want(t, 0, nil, "inspect", box)
			var doc any
			d := json.NewDecoder(strings.NewReader(want(t, 0, nil, "inspect", box, "-o", "json")))
			d.UseNumber()
			if err := d.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			docs[box] = doc
		}
		text, doc := texts[box], docs[box]
		as := l.as()
		if l.field == "InterfaceSpec.remotes" {
			l.iface = ""
		}
		if l.iface != "" {
			doc = ofInterface(doc, l.iface)
		}
		if !has(doc, as.name, as.value) {
			t.Errorf("%s of %s/%s is %s: -o json has no %s: %s in %v", l.field, l.sandbox, l.iface, l.value, as.name, as.value, doc)
		}
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return (l.iface == "" || strings.Contains(line, l.iface)) && strings.Contains(strings.Join(strings.Fields(line), " ")+" ", as.text)
		}) {
			t.Errorf("%s of %s/%s is %s: there is no %q in\n%s", l.field, l.sandbox, l.iface, l.value, as.text, text)
		}
	})
}

// ofInterface is that of a document.
func ofInterface(doc any, name string) any {
	all, _ := doc.(map[string]any)["interfaces"].([]any)
	for _, i := range all {
		if i.(map[string]any)["name"] == name {
			return i
		}
	}
	return nil
}

// Of links on which nothing was asked for the text says nothing: what it takes for usual is what
// the kernel makes.
func TestInspectSaysNothingOfNewLinks(t *testing.T) {
	for _, kind := range plan.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			f := osl.InterfaceSpec{Name: "new", Type: kind.Name}
			switch kind.Name {
			case "veth", "netkit":
				f.Peer = osl.Endpoint{Sandbox: "ia1", Interface: "other"}
			case "macvlan", "macvtap", "ipvlan", "ipvtap", "vlan":
				f.Parent = "below"
			case "vrf":
				f.Table = 7
			case "tun", "tap":
				testnet.NeedTun(t)
			case "wireguard":
				f.WireGuard = &osl.WireGuardSpec{PrivateKey: osl.GenerateSecretKey()}
			}
			remote := map[bool]string{false: "192.0.2.1", true: "2001:db8::1"}[strings.HasPrefix(kind.Name, "ip6")]
			for _, field := range kind.Fields {
				switch field {
				case "vlan":
					f.VLAN = 7
				case "vni":
					f.VNI = 7
				case "remote":
					f.Remote = netip.MustParseAddr(remote)
				}
			}
			net := osl.Network{Sandboxes: []osl.Spec{{Name: "ia1", Interfaces: []osl.InterfaceSpec{f, {Name: "other"}}}}}
			if f.Peer.Sandbox == "" {
				net.Sandboxes[0].Interfaces[1] = osl.InterfaceSpec{Name: "below", Type: "bridge"}
			}
			upOrSkip(t, net)
			if text := want(t, 0, nil, "inspect", "ia1"); strings.Contains(text, "\nDEV") {
				t.Errorf("it says\n%s", text)
			}
		})
	}
}

// Nor does it say of a port what the kernel makes of it, whose cost is by the speed of its link;
// nor does a file that osl export writes.
func TestNothingIsSaidOfNewPorts(t *testing.T) {
	for _, f := range []osl.InterfaceSpec{{Type: "veth", Peer: osl.Endpoint{Sandbox: "ia1", Interface: "other"}}, {Type: "macvlan", Parent: "below"},
		{Type: "vxlan", VNI: 7}, {Type: "gretap", Remote: netip.MustParseAddr("192.0.2.1")}, {Type: "tap"}} {
		t.Run(f.Type, func(t *testing.T) {
			if f.Type == "tap" {
				testnet.NeedTun(t)
			}
			f.Name, f.Master = "new", "br"
			said := func(f osl.InterfaceSpec) string {
				all := []osl.InterfaceSpec{f, {Name: "br", Type: "bridge"}, {Name: "other"}}
				if f.Peer.Sandbox == "" {
					all = append(all, osl.InterfaceSpec{Name: "below", Type: "veth", Peer: osl.Endpoint{Sandbox: "ia1", Interface: "other"}})
				}
				upOrSkip(t, osl.Network{Name: "ia", Sandboxes: []osl.Spec{{Name: "ia1", Interfaces: all}}})
				return want(t, 0, nil, "inspect", "ia1") + want(t, 0, nil, "export", "ia1")
			}
			if text := said(f); strings.Contains(text, "bridge_port") {
				t.Errorf("it says\n%s", text)
			}
			seven := 7
			f.BridgePort = &osl.BridgePortSpec{Cost: &seven}
			if text := said(f); strings.Count(text, "bridge_port") != 2 {
				t.Errorf("it says\n%s", text)
			}
		})
	}
}

// upOrSkip applies a network, and skips the test where the kernel lacks something of it.
func upOrSkip(t *testing.T, net osl.Network) {
	t.Helper()
	_, err := osl.Apply(t.Context(), net)
	if errors.Is(err, osl.ErrUnsupported) {
		t.Skip("there is no such thing here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := osl.Down(context.Background(), net); err != nil {
			t.Error(err)
		}
	})
}
