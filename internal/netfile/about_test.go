//go:build unix

package netfile

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/where"
)

// A mapping's own entries take the place of merged ones, whole; of several merged
// ones the earlier counts.
func TestMerge(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
sandboxes:
  - name: a
    interfaces:
      - &base {name: e0, mtu: 1400, addresses: [10.0.0.2/24], sysctls: {ipv4.rp_filter: 1}, peer: host/va}
      - &more
        <<: *base
        name: e1
        mtu: 1300
        addresses: [10.0.1.2/24, 10.0.2.2/24]
      - <<: [*more, *base]
        name: e2
        sysctls: {ipv4.arp_notify: 0}
      - <<: *more
        name: e3
        addresses:
`))
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		mtu     int
		addrs   string
		sysctls int
	}
	got := map[string]short{}
	for _, i := range f.Sandboxes[0].Interfaces {
		var list []string
		for _, p := range i.Addresses {
			list = append(list, p.String())
		}
		got[i.Name] = short{i.MTU, strings.Join(list, " "), len(i.Sysctls)}
	}
	want := map[string]short{"e0": {1400, "10.0.0.2/24", 1}, "e1": {1300, "10.0.1.2/24 10.0.2.2/24", 1},
		"e2": {1300, "10.0.1.2/24 10.0.2.2/24", 1}, "e3": {1300, "", 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, ok := f.Sandboxes[0].Interfaces[2].Sysctls["ipv4.arp_notify"]; !ok {
		t.Errorf("merged settings are left: %v", f.Sandboxes[0].Interfaces[2].Sysctls)
	}
}

// "default" is the destination of all, of the family that is meant.
func TestDefault(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`
sandboxes:
  - name: a
    interfaces:
      - {name: e0, routes: [default, 10.9.0.0/16], addresses: [10.0.0.2/24, "fd01::1/64"]}
      - {name: e1, routes: [default], addresses: ["fd02::1/64"]}
      - {name: e2, routes: [default]}
    routes: [{to: default, via: 10.0.0.1}, {to: default, via: "fd01::2"}, {dev: e2, to: default}]
`))
	if err != nil {
		t.Fatal(err)
	}
	four, six := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	s := f.Sandboxes[0]
	for i, want := range [][]netip.Prefix{{four, six, netip.MustParsePrefix("10.9.0.0/16")}, {six}, {four}} {
		if got := s.Interfaces[i].Routes; !reflect.DeepEqual(got, want) {
			t.Errorf("interface %d: %v, want %v", i, got, want)
		}
	}
	if s.Routes[0].To != four || s.Routes[1].To != six || s.Routes[2].To != four {
		t.Errorf("routes: %v", s.Routes)
	}
	if _, err := Parse("n.yaml", []byte("sandboxes: [{name: a, interfaces: [{name: e, addresses: [default]}]}]")); err == nil {
		t.Error("an address is default")
	}
}

// An error of osl says the line of what it is about.
func TestAbout(t *testing.T) {
	f, err := Parse("n.yaml", []byte(`sandboxes:
  - name: a
    sysctls:
      ipv4.ip_forward: 1
    interfaces:
      - name: e0
        mtu: 1400
        addresses:
          - 10.0.0.2/24
        sysctls:
          ipv4.rp_filter: 1
    gateway: 10.0.0.1
    routes:
      - {to: 10.1.0.0/16, via: 10.0.0.3}
      - {to: 10.2.0.0/16, via: 10.0.0.3}
    neighbors:
      - {dev: e0, ip: 10.0.0.9, mac: "02:00:00:00:00:01"}
  - name: b
links:
  - [a/e7, b/e8]
`))
	if err != nil {
		t.Fatal(err)
	}
	key, err := osl.KeyPath("a")
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no")
	for _, x := range []struct {
		dev, field, entry string
		line              string
	}{
		{"", "", "", "n.yaml:2: "}, {"e0", "", "", "n.yaml:6: "}, {"e0", "mtu", "", "n.yaml:7: "}, {"e0", "addresses", "10.0.0.2/24", "n.yaml:9: "},
		{"e0", "sysctls", "ipv4.rp_filter", "n.yaml:11: "}, {"", "sysctls", "ipv4.ip_forward", "n.yaml:4: "}, {"", "routes", "0.0.0.0/0", "n.yaml:12: "},
		{"", "routes", "10.2.0.0/16", "n.yaml:15: "}, {"e0", "neighbors", "10.0.0.9", "n.yaml:17: "}, {"e7", "", "", "n.yaml:20: "}, {"", "links", "0", "n.yaml:20: "},
		{"e0", "master", "", "n.yaml:6: "},
	} {
		err := f.About(&osl.Error{Op: "apply", Key: key, Interface: x.dev, Err: where.In(x.field, x.entry, cause)})
		if !strings.HasPrefix(err.Error(), x.line) || !errors.Is(err, cause) || strings.Count(err.Error(), ": no") != 1 {
			t.Errorf("%+v: %v", x, err)
		}
	}
	if err := f.About(cause); err != cause {
		t.Errorf("an error of others: %v", err)
	}
}
