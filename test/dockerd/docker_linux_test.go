package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// byDesign are the lines that may differ, and why: docs/docker.md says so too.
var byDesign = []struct {
	line *regexp.Regexp
	why  string
}{
	{setting(`ipv4/conf/`+links+`/arp_notify:`, `01`), "links say that they came"},
	{setting(`ipv6/conf/(default|lo|`+links+`)/ndisc_notify:`, `01`), "links say that they came"},
	{setting(`ipv6/conf/(default|`+links+`)/accept_dad:`, `10`), "no address is looked for before it is used"},
	{regexp.MustCompile(`: settings: [-+] ipv6/conf/lo/accept_dad:(-1|0)$`), "nor on lo"},
	{setting(`ipv6/conf/all/disable_ipv6:`, `10`), "new links have no IPv6 by conf/default alone"},
	{regexp.MustCompile(`^disconnected: web: (addr: .*"ifname":"lo"|-6 route show table all: ([-+] $|.*"dst":"::1")|settings: . ipv6/conf/lo/disable_ipv6)`),
		"what was started again knows that lo has IPv6 by it alone, and docker's has forgotten"},
	{regexp.MustCompile(`^[a-z]+(, far)?: (overlay|ingress): (` +
		`addr: (- .*"local":"::1"|\+ \{"addr_info":\[\{[^{}]*"local":"127\.0\.0\.1"[^{}]*\}\],).*"ifname":"lo"|` +
		`-6 route show table all: (- .*"dst":"::1"|\+ $)|settings: (- ipv6/conf/(default|lo)/disable_ipv6:0|\+ ipv6/conf/(default|lo)/disable_ipv6:1)$)`),
		"a sandbox of the daemon's own has IPv6 when an interface has an address of it"},
	{regexp.MustCompile(`^again: web: names: `), "the lowest number is taken that is free, and docker counts on"},
}

// links are those of sandboxes.
const links = `(eth|veth|br|vxlan)[^/]*`

// setting matches one that is values[0] with docker's package and values[1] with osl, in
// containers.
func setting(name, values string) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`: [a-z0-9]+: settings: (- %[1]s%[2]c|\+ %[1]s%[3]c)$`, name, values[0], values[1]))
}

// both runs a script with both sides of each version, and compares what they saw.
func both(t *testing.T, script func(*lab), options ...string) {
	t.Helper()
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) { v.compare(t, script, options...) })
	}
}

func (v *version) compare(t *testing.T, script func(*lab), options ...string) {
	t.Helper()
	v.need(t)
	var seen []story
	for _, side := range []string{"docker", "osl"} {
		t.Run(side, func(t *testing.T) {
			l := &lab{machine: newMachine(t, v, side, options...)}
			script(l)
			seen = append(seen, l.story)
		})
	}
	if t.Failed() || len(seen) < 2 {
		return
	}
	lines := 0
	for _, what := range seen[0].what {
		lines += len(seen[0].lines[what])
	}
	list := differences(seen[0], seen[1])
	why := map[string]int{}
next:
	for _, d := range list {
		for _, x := range byDesign {
			if x.line.MatchString(d) {
				why[x.why]++
				continue next
			}
		}
		t.Errorf("differs: %s", d)
	}
	t.Logf("%d lines about %d things, %d differ, of which by design: %v", lines, len(seen[0].what), len(list), why)
}

// out is the neighbor of the machine.
var out = []string{"ip", "netns", "exec", "out"}

func TestBridge(t *testing.T) {
	both(t, func(l *lab) {
		l.see("begin")
		l.run(wanted{name: "web", mode: "bridge", ports: []string{"8080:80/tcp"}})
		l.run(wanted{name: "two", mode: "bridge"})
		l.see("bridge", "web", "two")
		l.reach(true, "two", "172.17.0.2", "172.17.0.1", "192.0.2.2")
		l.fetch(out, "192.0.2.1", "8080")
		l.fetch(nil, "127.0.0.1", "8080")
		l.must("stop", l.ContainerStop(l.T.Context(), "web", container.StopOptions{}))
		l.see("stopped")
		l.must("start", l.ContainerStart(l.T.Context(), "web", types.ContainerStartOptions{}))
		l.must("restart", l.ContainerRestart(l.T.Context(), "two", container.StopOptions{}))
		l.see("started", "web", "two")
		l.fetch(out, "192.0.2.1", "8080")
		l.remove("web", "two")
		l.see("end")
	})
}

func TestConnect(t *testing.T) {
	both(t, func(l *lab) {
		ctx := l.T.Context()
		l.network("six", "bridge", nil, "10.6.0.0/24", "fd06::/64")
		l.network("far", "bridge", nil, "10.7.0.0/24")
		l.run(wanted{name: "web", mode: "bridge", ports: []string{"8080:80/tcp"}})
		l.run(wanted{name: "peer", net: "six", end: network.EndpointSettings{
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.6.0.20", IPv6Address: "fd06::20", LinkLocalIPs: []string{"169.254.9.9"}}, Aliases: []string{"other"}}})
		l.see("begin", "web", "peer")
		l.must("connect", l.NetworkConnect(ctx, "six", "web", &network.EndpointSettings{Aliases: []string{"www"}}))
		l.must("connect", l.NetworkConnect(ctx, "far", "web", nil))
		l.see("connected", "web")
		l.reach(true, "peer", "10.6.0.2", "fd06::2", "www", "web")
		l.reach(true, "web", "10.6.0.20", "fd06::20", "peer", "other", "192.0.2.2")
		l.fetchWithin("peer", "www")
		l.must("disconnect", l.NetworkDisconnect(ctx, "bridge", "web", false))
		l.see("without bridge", "web")
		l.must("disconnect", l.NetworkDisconnect(ctx, "six", "web", false))
		l.see("without six", "web")
		l.must("connect", l.NetworkConnect(ctx, "six", "web", nil))
		l.must("connect", l.NetworkConnect(ctx, "bridge", "web", nil))
		l.see("again", "web")
		l.fetch(out, "192.0.2.1", "8080")
		l.reach(true, "web", "peer", "fd06::20")
		for _, n := range []string{"six", "bridge", "far"} {
			l.must("disconnect", l.NetworkDisconnect(ctx, n, "web", false))
		}
		l.see("without any", "web")
		l.remove("web", "peer")
		l.must("network rm", l.NetworkRemove(ctx, "six"))
		l.must("network rm", l.NetworkRemove(ctx, "far"))
		l.see("end")
	})
}

func TestModes(t *testing.T) {
	both(t, func(l *lab) {
		l.run(wanted{name: "host", mode: "host", cmd: "httpd -p 8081 -h /www; exec sleep 7200"})
		l.run(wanted{name: "host2", mode: "host"})
		l.see("host")
		l.fetch(out, "192.0.2.1", "8081")
		l.run(wanted{name: "none", mode: "none"})
		l.run(wanted{name: "one", mode: "bridge", ports: []string{"8080:81/tcp"}})
		l.run(wanted{name: "with", mode: "container:one", cmd: "httpd -p 81 -h /www; exec sleep 7200"})
		l.see("modes", "none", "one", "with")
		l.fetch(out, "192.0.2.1", "8080")
		l.fetchWithin("with", "127.0.0.1")
		l.remove("host", "host2")
		l.see("without host", "one")
		l.remove("none", "with", "one")
		l.see("end")
	})
}

func TestOptions(t *testing.T) {
	both(t, func(l *lab) {
		l.network("mtu", "bridge", map[string]string{"com.docker.network.driver.mtu": "1400"}, "10.8.0.0/24", "fd08::/64")
		l.run(wanted{name: "set", net: "mtu", end: network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.8.0.9"}},
			host: container.HostConfig{Sysctls: map[string]string{"net.ipv4.conf.eth0.arp_ignore": "1", "net.ipv6.conf.all.disable_ipv6": "0", "net.ipv4.ip_forward": "1"}}})
		l.run(wanted{name: "plain", net: "mtu"})
		l.see("options", "set", "plain")
		l.reach(true, "plain", "set", "fd08::2", "fd08::3")
		l.note("a second of its address", fmt.Sprint(l.start(wanted{name: "no", net: "mtu", end: network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.8.0.9"}}}) != nil))
		l.remove("no", "set", "plain")
		l.must("network rm", l.NetworkRemove(l.T.Context(), "mtu"))
		l.see("end")
	})
}

// TestEnds has options of a container's end of a network, a container without IPv6 on
// networks that have it, and a network that advertises no address.
func TestEnds(t *testing.T) {
	both(t, func(l *lab) {
		if l.name == "v23" {
			l.T.Skip("v23 knows no options of an end")
		}
		ctx, option := l.T.Context(), func(of ...string) *network.EndpointSettings {
			e := &network.EndpointSettings{DriverOpts: map[string]string{}}
			for i := 0; i < len(of); i += 2 {
				e.DriverOpts["com.docker.network."+of[i]] = of[i+1]
			}
			return e
		}
		without := container.HostConfig{Sysctls: map[string]string{"net.ipv6.conf.all.disable_ipv6": "1"}}
		l.network("six", "bridge", nil, "10.6.0.0/24", "fd06::/64")
		l.network("mac", "macvlan", map[string]string{"parent": "up0", "com.docker.network.advertise_addr_nmsgs": "0"}, "192.0.2.0/24", "2001:db8:2::/64")
		named := option("endpoint.ifname", "lan0", "endpoint.sysctls", "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0")
		l.run(wanted{name: "named", net: "six", end: *named})
		l.run(wanted{name: "four", net: "six", host: without})
		second := option("endpoint.ifname", "lan1")
		second.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: "192.0.2.10", IPv6Address: "2001:db8:2::10"}
		l.must("connect", l.NetworkConnect(ctx, "mac", "named", second))
		l.must("connect", l.NetworkConnect(ctx, "mac", "four", option("endpoint.sysctls", "net.ipv4.conf.IFNAME.arp_ignore=2")))
		l.see("ends", "named", "four")
		l.reach(true, "named", "10.6.0.3", "192.0.2.2", "2001:db8:2::2")
		l.reach(true, "four", "10.6.0.2", "192.0.2.2")
		l.note("a wrong name", fmt.Sprint(l.start(wanted{name: "no", net: "six", end: *option("endpoint.ifname", "a/b")}) != nil))
		l.note("a wrong setting", fmt.Sprint(l.start(wanted{name: "nor", net: "six", end: *option("endpoint.sysctls", "net.ipv4.conf.IFNAME.none=1")}) != nil))
		l.must("disconnect", l.NetworkDisconnect(ctx, "six", "named", false))
		l.must("disconnect", l.NetworkDisconnect(ctx, "six", "four", false))
		l.see("without six", "named", "four")
		l.must("connect", l.NetworkConnect(ctx, "six", "named", named))
		l.must("restart", l.ContainerRestart(ctx, "four", container.StopOptions{}))
		l.see("again", "named", "four")
		l.remove("named", "four", "no", "nor")
		l.must("network rm", l.NetworkRemove(ctx, "six"))
		l.must("network rm", l.NetworkRemove(ctx, "mac"))
		l.see("end")
	})
}

func TestMacvlan(t *testing.T) {
	both(t, func(l *lab) {
		for _, mode := range []string{"bridge", "private"} {
			l.network("mac", "macvlan", map[string]string{"parent": "up0", "macvlan_mode": mode}, "192.0.2.0/24", "2001:db8:2::/64")
			l.run(wanted{name: "one", net: "mac", end: network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "192.0.2.10", IPv6Address: "2001:db8:2::10"}}})
			l.run(wanted{name: "two", net: "mac", end: network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "192.0.2.11", IPv6Address: "2001:db8:2::11"}}})
			l.see(mode, "one", "two")
			l.reach(true, "one", "192.0.2.2", "2001:db8:2::2")
			l.reach(mode == "bridge", "one", "192.0.2.11", "2001:db8:2::11")
			l.fetch(out, "192.0.2.10", "80")
			l.remove("one", "two")
			l.must("network rm", l.NetworkRemove(l.T.Context(), "mac"))
			l.see("end of " + mode)
		}
	})
}

// TestLiveRestore kills the daemon under running containers and starts it again.
func TestLiveRestore(t *testing.T) {
	both(t, func(l *lab) {
		l.network("six", "bridge", nil, "10.6.0.0/24", "fd06::/64")
		l.run(wanted{name: "web", mode: "bridge", ports: []string{"8080:80/tcp"}})
		l.run(wanted{name: "peer", net: "six"})
		l.must("connect", l.NetworkConnect(l.T.Context(), "six", "web", nil))
		l.run(wanted{name: "host", mode: "host", cmd: "httpd -p 8081 -h /www; exec sleep 7200"})
		l.run(wanted{name: "with", mode: "container:web"})
		l.run(wanted{name: "ends", mode: "bridge"})
		l.see("begin", "web", "peer", "ends")
		for i, signal := range []string{"KILL", "KILL", "TERM"} {
			step := fmt.Sprintf("%d %s", i, signal)
			ends := l.inside("ends")
			l.kill(signal)
			l.see("without a daemon " + step)
			l.try("kill", "-KILL", ends[2]) // a container ends meanwhile
			l.daemon("--live-restore")
			l.Eventually("the daemon knows that it ended", func() bool {
				c, err := l.ContainerInspect(l.T.Context(), "ends")
				return err == nil && !c.State.Running
			})
			l.Eventually("its link is gone, and those of the others are there", func() bool {
				return strings.Count(l.do("ip", "-o", "link", "show", "type", "veth"), " master ") == 3
			})
			l.see("restored "+step, "web", "peer")
			l.reach(true, "peer", "web", "fd06::2", "192.0.2.2")
			l.reach(true, "web", "peer", "fd06::3", "192.0.2.2")
			l.fetch(out, "192.0.2.1", "8080")
			l.fetch(out, "192.0.2.1", "8081")
			l.must("start", l.ContainerStart(l.T.Context(), "ends", types.ContainerStartOptions{}))
			l.must("connect", l.NetworkConnect(l.T.Context(), "six", "ends", nil))
			l.must("disconnect", l.NetworkDisconnect(l.T.Context(), "six", "ends", false))
			l.see("goes on "+step, "web", "ends")
		}
		l.must("disconnect", l.NetworkDisconnect(l.T.Context(), "six", "web", false))
		l.see("disconnected", "web")
		l.must("restart", l.ContainerRestart(l.T.Context(), "peer", container.StopOptions{}))
		l.see("restarted", "peer")
		l.remove("with", "web", "peer", "host", "ends")
		l.must("network rm", l.NetworkRemove(l.T.Context(), "six"))
		l.see("end")
	}, "--live-restore")
}

// TestMany starts 50 containers at once, and removes them at once.
func TestMany(t *testing.T) {
	both(t, func(l *lab) {
		l.network("six", "bridge", nil, "10.6.0.0/24", "fd06::/64")
		atOnce := func(f func(name string) error) (took time.Duration) {
			begin, errs := time.Now(), make([]error, 50)
			var all sync.WaitGroup
			for i := range errs {
				all.Go(func() { errs[i] = f(fmt.Sprintf("many%d", i)) })
			}
			all.Wait()
			for _, err := range errs {
				l.must("at once", err)
			}
			return time.Since(begin)
		}
		up := atOnce(func(name string) error { return l.start(wanted{name: name, net: "six", cmd: "exec sleep 7200"}) })
		found := map[string]bool{}
		for i := range 50 {
			c, err := l.ContainerInspect(l.T.Context(), fmt.Sprintf("many%d", i))
			l.must("inspect", err)
			end := c.NetworkSettings.Networks["six"]
			ip, ip6 := net.ParseIP(end.IPAddress), net.ParseIP(end.GlobalIPv6Address)
			text := l.do(append(l.inside(c.ID), "ip", "-o", "addr", "show", "dev", "eth0")...)
			if !strings.Contains(text, ip.String()+"/24") || !strings.Contains(text, ip6.String()+"/64") {
				l.T.Errorf("%s has not %s and %s: %s", c.Name, ip, ip6, text)
			}
			found[ip.String()], found[ip6.String()] = true, true
		}
		l.note("addresses", fmt.Sprint(len(found)))
		l.reach(true, "many0", "many49", "many7")
		l.note("pinned", l.pinned())
		down := atOnce(func(name string) error {
			return l.ContainerRemove(l.T.Context(), name, types.ContainerRemoveOptions{Force: true})
		})
		l.T.Logf("50 started in %.1f s, removed in %.1f s", up.Seconds(), down.Seconds())
		l.must("network rm", l.NetworkRemove(l.T.Context(), "six"))
		l.see("end")
	})
}
