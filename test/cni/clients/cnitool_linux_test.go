package clients

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// cnitool has each verb work, with the network in each version of CNI.
func TestCnitool(t *testing.T) {
	tool := need(t, "cnitool")
	m := newMachine(t)
	m.do("cp", tool, "/run/cnitool")
	m.env = []string{"CNI_PATH=/opt/cni/bin", "NETCONFPATH=/etc/cni/net.d"}
	file := page(t, `"name": "lab", "plugins": [ { "type": "osl", "mode": "bridge", "bridge": "cni0", "isGateway"`)
	m.do("ip", "netns", "add", "web")
	cni := func(verb string) error {
		out, err := m.try("/run/cnitool", verb, "lab", "/run/netns/web")
		if err != nil {
			return fmt.Errorf("%s: %w: %s", verb, err, out)
		}
		return nil
	}
	must := func(verbs ...string) {
		t.Helper()
		for _, verb := range verbs {
			if err := cni(verb); err != nil {
				t.Error(err)
			}
		}
	}
	must("add", "del")
	before := m.traces()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		if version >= "1.1.0" { // which Debian's plugin does not know
			m.do("cp", "--remove-destination", need(t, "portmap"), "/opt/cni/bin/portmap")
		}
		m.write("/etc/cni/net.d/lab.conflist", strings.Replace(file, `"cniVersion": "1.0.0"`, `"cniVersion": "`+version+`"`, 1))
		must("add")
		if show := m.do("ip", "-n", "web", "addr"); !strings.Contains(show, "10.88.0.") || !strings.Contains(show, "fd00:88::") {
			t.Errorf("%s: %s", version, show)
		}
		if version >= "0.4.0" {
			must("check")
			m.do("ip", "-n", "web", "link", "set", "eth0", "down")
			if err := cni("check"); err == nil {
				t.Errorf("%s: check does not see that the interface is down", version)
			}
		}
		if version >= "1.1.0" {
			must("status", "gc") // none is valid then
			m.same("gc", before)
		}
		must("del", "del")
		m.same(version, before)
	}
	add, del := func() error { return cni("add") }, func() error { return cni("del") }
	m.killing("ADD", add, del)
	m.killing("DEL", func() error { return errors.Join(add(), del()) }, del)
}
