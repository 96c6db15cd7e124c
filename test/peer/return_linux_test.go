package peer

import (
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// built is what the behaviours of coming back are tried on: two interfaces, a
// gateway and a route.
func (r *run) built(sb sandbox) *memory {
	asked := &memory{
		links: []wanted{
			{"va", "eth", conf{v4: cidr("10.0.0.2/24"), v6: cidr("fd00::2/64")}},
			{"vb", "eth", conf{v4: cidr("10.1.0.2/24")}},
		},
		gw:     net.IPv4(10, 0, 0, 1),
		routes: []*route{{cidr("10.5.0.0/16"), net.IPv4(10, 1, 0, 1)}},
	}
	for _, w := range asked.links {
		r.ok("add", sb.add(w.src, w.prefix, w.conf))
	}
	r.ok("set the gateway", sb.setGateway(asked.gw))
	r.ok("add the route", sb.addRoute(asked.routes[0]))
	return asked
}

// killedAfter kills a process that has built the sandbox.
func (r *run) killedAfter() (key string, asked *memory) {
	key = r.key("built")
	asked = &memory{links: []wanted{{"va", "eth", conf{v4: cidr("10.0.0.2/24")}}}}
	if r.step != "" {
		sb, err := r.create(key)
		r.ok("create", err)
		r.added(sb, "va", "eth", asked.links[0].conf)
		ready()
		time.Sleep(time.Hour)
	}
	r.host("va")
	cmd := r.child("build", false)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return key, asked
}

// returns are the behaviours of a process that finds the sandbox of another.
var returns = []behaviour{
	{"34", "opened with nothing but the key, Info is the same", func(r *run) {
		sb, key := r.sandbox("info")
		r.host("va")
		r.host("vb")
		r.built(sb)
		again, err := r.reopen(key, nil)
		r.ok("open", err)
		r.same("Info", describe(again), describe(sb))
	}},
	{"34", "opened and told what was asked for, Info is the same", func(r *run) {
		sb, key := r.sandbox("info")
		r.host("va")
		r.host("vb")
		asked := r.built(sb)
		again, err := r.reopen(key, asked)
		r.ok("open", err)
		for _, w := range asked.links {
			a, b := r.iface(sb, w.src), r.iface(again, w.src)
			r.same(w.src, fmt.Sprint(b.DstName(), b.Address(), b.AddressIPv6()), fmt.Sprint(a.DstName(), a.Address(), a.AddressIPv6()))
		}
		r.same("the gateway", again.gateway(false).String(), sb.gateway(false).String())
		r.same("routes", fmt.Sprint(again.routes()), fmt.Sprint(sb.routes()))
	}},
	{"34", "opened and told what was asked for, an interface with IPv6 only is found", func(r *run) {
		sb, key := r.sandbox("only6")
		r.host("va")
		asked := &memory{links: []wanted{{"va", "eth", conf{v6: cidr("fd00::2/64")}}}}
		i := r.added(sb, "va", "eth", asked.links[0].conf)
		again, err := r.reopen(key, asked)
		r.ok("open", err)
		r.same("the name", r.iface(again, "va").DstName(), i.DstName())
	}},
	{"34", "opening writes nothing: who watches links, addresses and routes sees no event", func(r *run) {
		sb, key := r.sandbox("silent")
		r.host("va")
		r.host("vb")
		asked := r.built(sb)
		time.Sleep(2500 * time.Millisecond) // what the kernel and moby's announcements still do
		fd, err := netns.GetFromPath(key)
		setup(err)
		stop := make(chan struct{})
		defer close(stop)
		links, addrs, routes := make(chan netlink.LinkUpdate, 100), make(chan netlink.AddrUpdate, 100), make(chan netlink.RouteUpdate, 100)
		setup(netlink.LinkSubscribeAt(fd, links, stop))
		setup(netlink.AddrSubscribeAt(fd, addrs, stop))
		setup(netlink.RouteSubscribeAt(fd, routes, stop))
		_, err = r.reopen(key, asked)
		r.ok("open", err)
		select {
		case u := <-links:
			r.not("an event of the link %s", u.Attrs().Name)
		case u := <-addrs:
			r.not("an event of the address %v", u.LinkAddress)
		case u := <-routes:
			r.not("an event of the route %v", u.Route)
		case <-time.After(300 * time.Millisecond):
		}
	}},
	{"18a", "killed after AddInterface: who opens the key, told what was asked for, brings the link home", func(r *run) {
		key, asked := r.killedAfter()
		sb, err := r.reopen(key, asked)
		r.ok("open", err)
		r.ok("remove", r.iface(sb, "va").Remove())
		r.nameIsHome("va")
		r.ok("destroy", sb.destroy())
	}},
	{"18a", "killed after AddInterface: who opens and destroys the key brings the link home as it was", func(r *run) {
		key, _ := r.killedAfter()
		sb, err := r.reopen(key, nil)
		r.ok("open", err)
		r.ok("destroy", sb.destroy())
		r.same("the link", r.link("va"), `va 02:00:00:00:00:aa mtu 1400 up true alias "the host's"`)
	}},
	{"18a", "killed at any moment of AddInterface: the link is on the host, or is brought home from the key", func(r *run) {
		asked := &memory{links: []wanted{{"va", "eth", conf{mac: mac("02:00:00:00:00:bb"), v4: cidr("10.0.0.2/24")}}}}
		key := r.key("midway")
		if r.step != "" {
			sb, err := r.reopen(key, nil)
			r.ok("open", err)
			ready()
			_ = sb.add("va", "eth", asked.links[0].conf)
			time.Sleep(time.Hour)
		}
		r.host("va")
		for n := range 12 {
			sb, err := r.create(key)
			r.ok("create", err)
			cmd := r.child("add", false)
			time.Sleep(time.Duration(n) * 200 * time.Microsecond)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = sb
			again, err := r.reopen(key, asked)
			if err != nil { // osl is not told of what it finds not done
				again, err = r.reopen(key, nil)
			}
			r.ok("open", err)
			for _, i := range again.ifaces() {
				_ = i.Remove()
			}
			if _, err := netlink.LinkByName("va"); err != nil {
				r.not("killed %d µs after the call: the link is not on the host, and in the sandbox there is %q", n*200, r.linksIn(key))
			}
			r.ok("destroy", again.destroy())
		}
	}},
}
