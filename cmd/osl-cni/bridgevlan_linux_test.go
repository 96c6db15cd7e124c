//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The gateway of containers in a VLAN of a bridge is an interface of the host in that VLAN:
// they reach it, and those of another VLAN do not.
func TestFeatureVLANGateway(t *testing.T) {
	c := newCNI(t)
	file := func(vlan, address int) string {
		return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "net%d", "type": "bridge", "bridge": "cni9", "vlan": %d, "isDefaultGateway": true, "preserveDefaultVlan": false,
	"ipam": {"type": "static", "addresses": [{"address": "10.86.%d.%d/24", "gateway": "10.86.%d.1"}, {"address": "fd86:%d::%d/64", "gateway": "fd86:%d::1"}]}}`,
			vlan, vlan, vlan, address, vlan, vlan, address, vlan)
	}
	one := c.sandbox("c1")
	out := addFeature(t, c, "osl-cni's gateway in a VLAN of a bridge", "bridge", one, file(100, 9))
	r := c.result(out)
	if len(r.Interfaces) != 4 || r.Interfaces[3].Name != "cni9.100" || r.Interfaces[3].Mac == "" {
		t.Errorf("the result is %s", out)
	}
	conf := withResult(file(100, 9), out)
	c.must("bridge", "CHECK", "id1", one, conf)
	// Others at once, half of them in another VLAN.
	var wg sync.WaitGroup
	spaces := []string{one}
	for i := range 8 {
		ns := c.sandbox(fmt.Sprint("d", i))
		spaces = append(spaces, ns)
		wg.Go(func() {
			if _, err := c.call("bridge", "ADD", fmt.Sprint("more", i), ns, file(100+100*(i%2), 20+i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	in := func(ns, line string) error {
		n := c.opened(ns)
		return n.Command(t.Context(), "sh", "-c", line).Run()
	}
	for _, to := range []string{"10.86.100.1", "fd86:100::1", "10.86.100.20", "fd86:100::20"} {
		if err := in(one, "ping -c1 -W5 "+to); err != nil {
			t.Errorf("%s does not answer: %v", to, err)
		}
	}
	if err := in(spaces[2], "ip addr add 10.86.100.99/24 dev eth0"); err != nil {
		t.Error(err)
	}
	if in(one, "ping -c1 -W1 10.86.100.99") == nil {
		t.Error("one of another VLAN answers")
	}
	sh(t, "ip addr del 10.86.100.1/24 dev cni9.100")
	if _, err := c.call("bridge", "CHECK", "id1", one, conf); err == nil || !strings.Contains(err.Error(), "cni9.100 has not got the address 10.86.100.1/24") {
		t.Errorf("CHECK without the gateway: %v", err)
	}
	sh(t, "ip addr add 10.86.100.1/24 dev cni9.100; ip link set $(ip -o link show cni9.100 | sed 's/.*@\\([^:]*\\):.*/\\1/') nomaster")
	if _, err := c.call("bridge", "CHECK", "id1", one, conf); err == nil || !strings.Contains(err.Error(), "is no port of cni9") {
		t.Errorf("CHECK where the gateway is no port: %v", err)
	}
	sh(t, "ip link del cni9") // the ports are none's
	again := c.sandbox("again")
	c.must("bridge", "ADD", "again", again, file(100, 90))
	if err := in(again, "ping -c1 -W5 10.86.100.1"); err != nil {
		t.Errorf("by another bridge the gateway does not answer: %v", err)
	}
	c.must("bridge", "DEL", "again", again, file(100, 90))
	for i, ns := range spaces {
		id := "id1"
		if i > 0 {
			id = fmt.Sprint("more", i-1)
		}
		c.must("bridge", "DEL", id, ns, file(100+100*((i+1)%2)*min(i, 1), 9))
	}
	left := slices.DeleteFunc(c.left("cni9", "cni9.100", "cni9.200"), func(s string) bool { return strings.HasPrefix(s, "veth") })
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	sh(t, "ip link del cni9.100; ip link del cni9.200; ip link del cni9")
	if left := c.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
