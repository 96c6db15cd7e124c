//go:build linux

package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// sh runs a line of a shell.
func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// A link of the host brings along what it has there, with useInterfaceNetwork, and has it
// again when it is home.
func TestBrought(t *testing.T) {
	c := newCNI(t)
	ns := c.sandbox("c1")
	sh(t, `ip link add m0 type veth peer name p0
ip link set m0 up; ip link set p0 up
ip addr add 192.0.2.2/24 dev m0
ip addr add 2001:db8::2/64 dev m0 nodad
ip addr add 2001:db8:1::2/64 dev m0 nodad valid_lft 1000 preferred_lft 1000
ip route add 198.51.100.0/24 via 192.0.2.1
ip route add 203.0.113.0/24 dev m0 metric 7 mtu 1400
ip route add 203.0.114.0/24 dev m0
ip -6 route add 2001:db8:9::/64 via 2001:db8::1
ip route add default via 192.0.2.1 dev m0 table 100
ip rule add from 192.0.2.0/24 iif m0 lookup 100 priority 30000
ip -6 route add 2001:db8:a::/64 dev m0 src 2001:db8:1::2
ip -6 route add default via 2001:db8::1 dev m0
ip rule add from 10.0.0.0/8 lookup 100 priority 30001
ip rule add from 192.0.2.0/24 lookup 101 priority 30002`)
	t.Cleanup(func() {
		sh(t, "ip link del m0; ip rule del priority 30000; ip rule del priority 30001; ip rule del priority 30002")
	})
	look := func(in string) string {
		lines := sh(t, `look() {
	$* ip -o addr show dev $dev scope global | sed "s/^[0-9]*: [^ ]* *//; s/  *[^ ]*\\\\.*//; s/ scope.*//; s/ brd [^ ]*//"
	for f in -4 -6; do $* ip $f route show dev $dev table all | grep -v -e local -e broadcast -e multicast -e fe80 -e "proto kernel" | sed "s/ proto [^ ]*//; s/ onlink//; s/ pref medium//; s/ *$//"; done
	$* ip rule | grep -v -e "lookup local" -e "lookup main" -e "lookup default" | sed "s/ proto [^ ]*//"
}
`+in)
		list := strings.Split(strings.TrimSpace(lines), "\n")
		for i := range list {
			list[i] = strings.Join(strings.Fields(list[i]), " ")
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), "\n")
	}
	inside, rules := "dev=eth0; look nsenter --net="+ns, "nsenter --net="+ns+" ip rule"
	before, none := look("dev=m0; look"), sh(t, rules)
	conf := `{"cniVersion": "1.0.0", "name": "net1", "type": "host-device", "device": "m0", "useInterfaceNetwork": true}`
	for _, with := range []string{"", `, "ipam": {"type": "static", "addresses": [{"address": "fd09::2/64"}], "routes": [{"dst": "::/0", "gw": "fd09::1"}, {"dst": "203.0.114.0/24"}]}`, `, "ipam": {"type": "fake-ipam", "dir": "LEASES"}`, `, "ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24"}]}`} {
		conf := strings.TrimSuffix(conf, "}") + with + "}"
		out := c.must("host-device", "ADD", "id1", ns, conf)
		want := `203.0.113.0/24 scope link metric 7 mtu 1400
198.51.100.0/24 via 192.0.2.1
2001:db8:9::/64 via 2001:db8::1 metric 1024
30000: from 192.0.2.0/24 iif eth0 lookup 100
default via 192.0.2.1 table 100
inet 192.0.2.2/24
inet6 2001:db8::2/64`
		got := look(inside)
		for line := range strings.Lines(want) {
			if line = strings.TrimSpace(line); !strings.Contains("\n"+got+"\n", "\n"+line+"\n") {
				t.Errorf("%s: the container has not got %q, but\n%s", with, line, got)
			}
		}
		for _, not := range []string{"2001:db8:1::2", "2001:db8:a::/64", "30001", "30002"} {
			if strings.Contains(got, not) {
				t.Errorf("%s: the container has %s:\n%s", with, not, got)
			}
		}
		r := c.result(out)
		if len(r.Interfaces) != 1 || len(r.Routes) < 4 || !slices.ContainsFunc(r.IPs, func(ip *current.IPConfig) bool { return ip.Address.String() == "192.0.2.2/24" && *ip.Interface == 0 }) {
			t.Errorf("the result is %s", out)
		}
		c.must("host-device", "CHECK", "id1", ns, withResult(conf, out))
		sh(t, "nsenter --net="+ns+" ip route del 198.51.100.0/24")
		if _, err := c.call("host-device", "CHECK", "id1", ns, withResult(conf, out)); err == nil {
			t.Error("CHECK does not miss a route")
		}
		if with == "" { // by what the result says
			sh(t, "nsenter --net="+ns+" ip addr flush dev eth0")
		}
		c.must("host-device", "DEL", "id1", ns, withResult(conf, out))
		if now := look("dev=m0; look"); now != before {
			t.Errorf("%s: on the host there is\n%s\nand not\n%s", with, now, before)
		}
		if now := sh(t, rules); now != none {
			t.Errorf("%s: the container keeps the rules\n%s", with, now)
		}
	}
	if left := c.left("m0", "p0"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
