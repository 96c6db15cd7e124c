//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// reserved lists the files of a directory of host-local, without the lock, and without
// second names, of which each has to be one.
func reserved(t *testing.T, dir string) (list []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(f.Name(), "osl."); ok {
			_, address, _ := strings.Cut(name, ".")
			if first, err := os.ReadFile(filepath.Join(dir, address)); err != nil || string(first) != string(b) {
				t.Errorf("%s has %q, %v", f.Name(), b, err)
			}
			continue
		}
		if f.Name() != "lock" {
			list = append(list, f.Name()+"="+strings.ReplaceAll(string(b), "\r\n", "/"))
		}
	}
	return list
}

// Addresses go round in each set, without the gateway; a reservation is the plugin's
// file, and one that was killed before it had written is free again.
func TestHostLocal(t *testing.T) {
	c := newCNI(t)
	dir := filepath.Join(c.leases, "n")
	file := func(more string) string {
		return `{"cniVersion": "1.0.0", "name": "n", ` + more + `"ipam": {"type": "host-local", "dataDir": "LEASES", "routes": [{"dst": "0.0.0.0/0"}],
			"ranges": [[{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.3"}, {"subnet": "10.2.0.0/30"}], [{"subnet": "fd01::/64"}]]}}`
	}
	got := func(id, more string) string {
		out, err := c.call("host-local", "ADD", id, "/n", file(more))
		if err != nil {
			return err.Error()
		}
		var text []string
		for _, ip := range c.result(out).IPs {
			text = append(text, ip.Address.String()+" by "+ip.Gateway.String())
		}
		return strings.Join(text, ", ")
	}
	for i, want := range []string{
		"10.1.0.2/29 by 10.1.0.1, fd01::2/64 by fd01::1", "10.1.0.3/29 by 10.1.0.1, fd01::3/64 by fd01::1", "10.2.0.2/30 by 10.2.0.1, fd01::4/64 by fd01::1",
		"failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.3,10.2.0.1-10.2.0.2"} {
		if x := got(fmt.Sprintf("id%d", i), ""); x != want {
			t.Errorf("the %d. has %s", i, x)
		}
	}
	want := []string{"10.1.0.2=id0/eth0", "10.1.0.3=id1/eth0", "10.2.0.2=id2/eth0", "fd01::2=id0/eth0", "fd01::3=id1/eth0", "fd01::4=id2/eth0",
		"last_reserved_ip.0=10.2.0.2", "last_reserved_ip.1=fd01::4"}
	if x := reserved(t, dir); !slices.Equal(x, want) {
		t.Errorf("there is %v", x)
	}
	if x := got("id1", ""); !strings.Contains(x, "duplicate allocation is not allowed") {
		t.Error(x)
	}
	c.must("host-local", "CHECK", "id1", "/n", file(""))
	c.must("host-local", "DEL", "id1", "/n", file(""))
	if _, err := c.call("host-local", "CHECK", "id1", "/n", file("")); err == nil {
		t.Error("CHECK after DEL")
	}
	c.must("host-local", "DEL", "id1", "/n", file(""))
	// What is asked for, by the runtime and by args; more than there is, and the gateway's.
	for _, x := range [][2]string{
		{`"runtimeConfig": {"ips": ["10.1.0.3/29"]}, "args": {"cni": {"ips": ["fd01::9"]}}, `, "10.1.0.3/29 by 10.1.0.1, fd01::9/64 by fd01::1"},
		{`"runtimeConfig": {"ips": ["10.9.0.3"]}, `, "failed to allocate all requested IPs: 10.9.0.3"},
		{`"runtimeConfig": {"ips": ["fd02::1"], "ipRanges": [[{"subnet": "10.3.0.0/24"}]]}, `, "failed to allocate all requested IPs: fd02::1"},
		{`"runtimeConfig": {"ips": ["10.1.0.1"]}, `, "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway"},
		{`"runtimeConfig": {"ips": ["10.1.0.2"]}, `, "failed to allocate for range 0: requested IP address 10.1.0.2 is not available in range set"},
	} {
		if y := got("id1", x[0]); !strings.HasPrefix(y, x[1]) {
			t.Errorf("%s: %s", x[0], y)
		}
		c.must("host-local", "DEL", "id1", "/n", file(""))
	}
	if x := reserved(t, dir); len(x) != 7 { // with last_reserved_ip.2
		t.Errorf("there is %v", x)
	}
	// A file of an old version, one that nothing was written to, and one of another's.
	for name, text := range map[string]string{"10.1.0.3": "", "fd01::7": "old", "notes": "of somebody"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if x := got("id5", ""); x != "10.1.0.3/29 by 10.1.0.1, fd01::3/64 by fd01::1" {
		t.Error(x)
	}
	c.must("host-local", "GC", "", "", strings.Replace(file(`"cni.dev/valid-attachments": [{"containerID": "id5", "ifname": "eth0"}, {"containerID": "old", "ifname": "x"}], `), "1.0.0", "1.1.0", 1))
	x := reserved(t, dir)
	x = slices.DeleteFunc(x, func(s string) bool { return strings.HasPrefix(s, "last") })
	if !slices.Equal(x, []string{"10.1.0.3=id5/eth0", "fd01::3=id5/eth0", "fd01::7=old", "notes=of somebody"}) {
		t.Errorf("after GC there is %v", x)
	}
	if err := os.WriteFile(filepath.Join(dir, "10.1.0.5"), nil, 0o600); err != nil { // of one that was killed
		t.Fatal(err)
	}
	c.must("host-local", "DEL", "old", "/n", file(""))
	if x := strings.Join(reserved(t, dir), " "); strings.Contains(x, "old") || strings.Contains(x, "10.1.0.5") {
		t.Errorf("after DEL there is %v", x)
	}
	// The plugin, killed when it had taken one reservation of two names, and then another
	// has the address: each has its own.
	c.must("host-local", "ADD", "id6", "/n", file(`"runtimeConfig": {"ips": ["10.1.0.2"]}, `))
	if err := os.Remove(filepath.Join(dir, "10.1.0.2")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10.1.0.2"), []byte("id8\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("host-local", "DEL", "id6", "/n", file(""))
	if x := strings.Join(reserved(t, dir), " "); !strings.Contains(x, "10.1.0.2=id8/eth0") || strings.Contains(x, "id6") {
		t.Errorf("after DEL of id6 there is %v", x)
	}
	c.must("host-local", "DEL", "id8", "/n", file(""))
	if x := strings.Join(reserved(t, dir), " "); strings.Contains(x, "id8") {
		t.Errorf("after DEL of id8 there is %v", x)
	}
	// What is wrong with the ranges keeps nobody from giving addresses back.
	c.must("host-local", "DEL", "id5", "/n", `{"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "host-local", "dataDir": "LEASES"}}`)
	if x := strings.Join(reserved(t, dir), " "); strings.Contains(x, "id5") {
		t.Errorf("after DEL without ranges there is %v", x)
	}
	for ranges, text := range map[string]string{
		`[]`: "no IP ranges", `[[]]`: "empty range set", `[[{"subnet": "10.1.0.0/31"}]]`: "too small", `[[{"subnet": "10.1.0.1/24"}]]`: "write 10.1.0.0/24",
		`[[{"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"}]]`:                            "gateway 10.2.0.1 not in network",
		`[[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}]]`: "rangeStart 10.1.0.9 is after",
		`[[{"subnet": "10.1.0.0/24"}, {"subnet": "fd01::/64"}]]`:                          "mixed address families",
		`[[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/16"}]]`:                        "overlap",
		`[[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]`:                      "range set 0 overlaps with 1",
		`[[{"gateway": "10.1.0.1"}]]`:                                                     "no subnet",
	} {
		_, err := c.call("host-local", "ADD", "id9", "/n", `{"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "host-local", "dataDir": "LEASES", "ranges": `+ranges+`}}`)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", ranges, err)
		}
	}
}

// 12 at once have addresses of their own on one bridge, and give them back; resolvConf
// is in the result.
func TestHostLocalAtOnce(t *testing.T) {
	c := newCNI(t)
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("# x\nnameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:5\ndomain example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := `{"cniVersion": "1.1.0", "name": "n", "type": "osl", "mode": "bridge", "bridge": "cni9", "isGateway": true,
		"ipam": {"type": "host-local", "dataDir": "LEASES", "resolvConf": "` + resolv + `", "subnet": "10.81.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}}`
	const count = 12
	var keys [count]string
	for i := range keys {
		keys[i] = c.sandbox(fmt.Sprintf("c%d", i))
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	for _, verb := range []string{"ADD", "DEL"} {
		var wg sync.WaitGroup
		for i, ns := range keys {
			wg.Go(func() {
				out, err := c.call("osl-cni", verb, fmt.Sprintf("id%d", i), ns, file)
				if err != nil {
					t.Errorf("%s: %v", verb, err)
					return
				}
				if verb == "ADD" {
					r := c.result(out)
					mu.Lock()
					seen[r.IPs[0].Address.String()] = true
					if r.DNS.Domain != "example" || len(r.DNS.Search) != 2 || len(r.DNS.Nameservers) != 1 || len(r.DNS.Options) != 1 {
						t.Errorf("%+v", r.DNS)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}
	if len(seen) != count {
		t.Errorf("%d addresses: %v", len(seen), seen)
	}
	if x := reserved(t, filepath.Join(c.leases, "n")); len(x) != 1 || !strings.HasPrefix(x[0], "last_reserved_ip.0=") {
		t.Errorf("left: %v", x)
	}
	removeBridge(t)
}
