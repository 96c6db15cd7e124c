package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// onHostNow are the lines of a picture that are about a link of the host, its
// addresses, its routes and its neighbours.
func onHostNow(t *testing.T, link string) (list []string) {
	t.Helper()
	for _, l := range look(t) {
		if strings.HasPrefix(l, "host: ") && slices.Contains(strings.Fields(l), link) {
			list = append(list, l)
		}
	}
	return list
}

// A link that leaves a sandbox, whichever way, is on the host as it was when it
// came, with its addresses, routes and permanent neighbours, and nothing else.
func TestHomeAsItCame(t *testing.T) {
	ctx := context.Background()
	for name, leave := range map[string]func(n *osl.Namespace) error{
		"RemoveLink": func(n *osl.Namespace) error { return n.RemoveLink(ctx, "eth0") },
		"Interface.Remove": func(n *osl.Namespace) error {
			return n.Info().Interfaces()[0].Remove()
		},
		"Destroy": func(n *osl.Namespace) error { return n.Destroy() },
		"Remove":  func(n *osl.Namespace) error { return osl.Remove(ctx, n.Key()) },
		"Down": func(n *osl.Namespace) error {
			_, err := osl.Down(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: n.Key()}}})
			return err
		},
		"Apply": func(n *osl.Namespace) error {
			_, err := n.Apply(ctx, osl.Spec{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, richVeth)
			before := onHostNow(t, "va")
			w.a = w.make("a")
			w.must(w.a.AddInterface("va", "eth", w.a.InterfaceOptions().MacAddress(hw(30)), osl.WithMTU(1300)))
			w.must(leave(w.ns("a")))
			// The kernel gives it its link-local address again when it finds the time.
			after := onHostNow(t, "va")
			for end := time.Now().Add(10 * time.Second); !slices.Equal(before, after) && time.Now().Before(end); after = onHostNow(t, "va") {
				time.Sleep(50 * time.Millisecond)
			}
			if !slices.Equal(before, after) {
				t.Errorf("on the host it is not as it was:\n%s", diff(before, after))
			}
		})
	}
}

// Addresses come home in their order, by which the kernel chooses the source of what is sent,
// and before the routes of all links that have one of them as their source; so it is when
// the links have never left, since the change failed.
func TestHomeInOrder(t *testing.T) {
	w := world(t, plainVeth)
	w.batch(`link add vc type veth peer name vd
link set va up
link set vb up
link set vc up
link set vd up
addr add fd00::3/64 dev va nodad
addr add fd00::1/64 dev va nodad
addr add fd00::2/64 dev va nodad
addr add 192.0.2.7/24 dev va
addr add 192.0.2.3/24 dev va
addr add 198.51.100.1/24 dev vc
route add 10.1.0.0/16 via 192.0.2.9 src 198.51.100.1
`)
	now := func() string {
		var list []string
		for _, args := range [][]string{{"-o", "addr", "show", "dev", "va", "scope", "global"}, {"route", "show", "10.1.0.0/16"}} {
			out, err := exec.Command("ip", args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				f := strings.Fields(line) // after its index
				list = append(list, strings.Join(f[2:min(4, len(f))], " "))
			}
		}
		return strings.Join(list, "\n")
	}
	before := now()
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Source: "va"}, {Name: "eth1", Source: "vc"}}}}}
	fails := lab
	fails.Sandboxes = slices.Clone(lab.Sandboxes)
	fails.Sandboxes[0].Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("192.0.2.1"), Dev: "eth0", Scope: "nowhere"}}
	if _, err := osl.Apply(t.Context(), fails); err == nil || errors.Is(err, osl.ErrNotFound) {
		t.Fatalf("the route was taken, or not tried: %v", err)
	}
	if got := now(); got != before {
		t.Errorf("after a failure there is\n%s\nand there was\n%s", got, before)
	}
	_, err := osl.Apply(t.Context(), lab)
	w.must(err)
	_, err = osl.Down(t.Context(), lab)
	w.must(err)
	if got := now(); got != before {
		t.Errorf("home is\n%s\nand there was\n%s", got, before)
	}
}

// A link that left its sandbox by another hand than osl's, under the name that it had there,
// is known by its tag as what it was: it goes in again by its first name.
func TestHomeUnderAnotherName(t *testing.T) {
	w := world(t, richVeth)
	index := regexp.MustCompile(`index \d+`) // what the kernel chose
	now := func() string { return index.ReplaceAllString(strings.Join(onHostNow(t, "va"), "\n"), "") }
	before := now()
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Source: "va"}}}}}
	leaves := func() {
		t.Helper()
		n, err := osl.Open(t.Context(), "a")
		w.must(err)
		defer n.Close()
		home, err := os.Open("/proc/thread-self/ns/net")
		w.must(err)
		defer home.Close()
		w.must(n.Do(t.Context(), func(context.Context) error {
			out, err := exec.Command("ip", "link", "set", "dev", "eth0", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), home.Fd())).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}))
	}
	_, err := osl.Apply(t.Context(), lab)
	w.must(err)
	leaves()
	if c, err := osl.Diff(t.Context(), lab); err != nil || !strings.Contains(c.String(), "ip link set dev eth0 netns a") {
		t.Errorf("diff: %v\n%s", err, c)
	}
	_, err = osl.Apply(t.Context(), lab)
	w.must(err)
	if c, err := osl.Diff(t.Context(), lab); err != nil || len(c) > 0 {
		t.Errorf("diff: %v\n%s", err, c)
	}
	leaves()
	b := w.make("b")
	w.must(b.AddInterface("va", "eth"))
	w.must(b.Destroy())
	_, err = osl.Down(t.Context(), lab)
	w.must(err)
	after := now()
	for end := time.Now().Add(10 * time.Second); before != after && time.Now().Before(end); after = now() {
		time.Sleep(50 * time.Millisecond) // for the link-local address
	}
	if before != after {
		t.Errorf("on the host there is\n%s\nand there was\n%s", after, before)
	}
}

// What is too much to be noted is counted; the addresses are noted first.
func TestHomeOfMany(t *testing.T) {
	w := world(t, plainVeth)
	var cmd strings.Builder
	cmd.WriteString("link set va up\naddr add 192.0.2.1/24 dev va\n")
	for i := range 400 {
		fmt.Fprintf(&cmd, "route add 10.%d.%d.0/24 via 192.0.2.%d dev va metric %d\n", i*7%256, i*13%256, 2+i%250, 1+i*i)
	}
	w.batch(cmd.String())
	r := engine.NewRun(t.Context())
	defer r.Close()
	h, err := r.HostLink("va", true)
	w.must(err)
	if h.Lost == 0 || h.Lost > 399 {
		t.Errorf("%d of %d are lost", h.Lost, len(h.Kept))
	}
	w.a = w.make("a")
	w.must(w.a.AddInterface("va", "eth"))
	w.must(w.a.Destroy())
	after := onHostNow(t, "va")
	routes := len(slices.DeleteFunc(slices.Clone(after), func(l string) bool { return !strings.Contains(l, ": route 10.") }))
	if routes+h.Lost != 400 {
		t.Errorf("%d routes are back, %d had no room", routes, h.Lost)
	}
	if !slices.ContainsFunc(after, func(l string) bool { return strings.Contains(l, "address 192.0.2.1/24") }) {
		t.Error("the address is not back")
	}
}

// A record that someone forged acts on its link and on no other.
func TestForgedHomeRecord(t *testing.T) {
	w := world(t, plainVeth+"link set va up\naddr add 192.0.2.1/24 dev va\n")
	host, err := engine.DialHost()
	w.must(err)
	defer host.Close()
	var vb rtnl.Link
	w.must(host.One(t.Context(), rtnl.GetLink(0, "vb", &vb)))
	before := onHostNow(t, "vb")
	kept, err := host.Keep(t.Context(), 41)
	w.must(err)
	for _, k := range kept {
		typ, data, ok := k.Portable(41)
		if !ok {
			t.Fatalf("%v can not be noted", k)
		}
		for i := range data { // any byte may be wrong
			for _, b := range []byte{0, 1, 42, 255} {
				forged := slices.Clone(data)
				forged[i] = b
				if k, ok := rtnl.NewKept(typ, forged); ok {
					_ = host.One(t.Context(), k.OnLink(41).Request())
				}
			}
		}
	}
	if after := onHostNow(t, "vb"); !slices.Equal(before, after) {
		t.Errorf("another link is not as it was:\n%s", diff(before, after))
	}
}

// ifb makes s0 on the host, a link whose driver sets no hardware address.
func (w *faultWorld) ifb() {
	if out, err := exec.Command("ip", "link", "add", "s0", "index", "47", "type", "ifb").CombinedOutput(); strings.Contains(string(out), "Unknown device type") {
		w.t.Skipf("this kernel has no ifb: %s", out)
	} else if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// A link whose driver refuses what is to be set again is home all the same: with
// its name, without a tag, and with the rest.
func TestHomeThoughAPropertyIsRefused(t *testing.T) {
	w := world(t, "")
	w.ifb()
	w.batch("link set s0 up mtu 1400\naddr add 192.0.2.5/24 dev s0\n")
	before := onHostNow(t, "s0")
	w.a = w.make("a")
	w.must(w.a.AddInterface("s0", "eth"))
	n := w.ns("a")
	links, err := connOf(t, n).Links(t.Context())
	w.must(err)
	l := links[slices.IndexFunc(links, func(l rtnl.Link) bool { return l.Kind == "ifb" })]
	// As if it had come with another hardware address.
	tag, _ := plan.ParseTag(l.Alias)
	tag.MAC = hw(9)
	alias := tag.String()
	w.must(connOf(t, n).One(t.Context(), rtnl.SetLink(rtnl.LinkSet{Index: l.Index, Alias: &alias, MTU: 1300})))
	w.must(w.a.Destroy())
	if after := onHostNow(t, "s0"); !slices.Equal(before, after) {
		t.Errorf("on the host it is not as it was:\n%s", diff(before, after))
	}
}

// Adding an interface with a hardware address that its driver refuses leaves it on
// the host as it was.
func TestAddThatTheDriverRefuses(t *testing.T) {
	w := world(t, "")
	w.ifb()
	w.batch("link set s0 up\naddr add 192.0.2.5/24 dev s0\n")
	before := onHostNow(t, "s0")
	w.a = w.make("a")
	if err := w.a.AddInterface("s0", "eth", w.a.InterfaceOptions().MacAddress(hw(9))); !errors.Is(err, osl.ErrUnsupported) || errors.Is(err, osl.ErrIncomplete) {
		t.Error(err)
	}
	if after := onHostNow(t, "s0"); !slices.Equal(before, after) {
		t.Errorf("on the host it is not as it was:\n%s", diff(before, after))
	}
}

// What a link lacks that came home half, or by itself, it gets from RecoverHost, or
// from who adds it next.
func TestHomeByHalf(t *testing.T) {
	for name, mend := range map[string]func(w *faultWorld) error{
		"RecoverHost": func(*faultWorld) error { return osl.RecoverHost(context.Background()) },
		"AddInterface": func(w *faultWorld) error {
			return errors.Join(w.a.AddInterface("va", "eth"), w.ns("a").RemoveLink(context.Background(), "eth0"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, richVeth)
			before := onHostNow(t, "va")
			w.a = w.make("a")
			w.must(w.a.AddInterface("va", "eth", w.a.InterfaceOptions().MacAddress(hw(30))))
			n := w.ns("a")
			links, err := connOf(t, n).Links(t.Context())
			w.must(err)
			r := engine.NewRun(t.Context(), engineOf(t, n))
			defer r.Close()
			for i := range links {
				if tag, ok := plan.ParseTag(links[i].Alias); ok && tag.Origin == plan.Host {
					home := plan.Remove(n.Key(), &links[i], tag, &plan.State{})[0].Do.(plan.SetLink)
					w.must(connOf(t, n).One(t.Context(), home.Arrival().Request(r.FD)))
				}
			}
			w.must(mend(w))
			after := onHostNow(t, "va")
			for end := time.Now().Add(5 * time.Second); !slices.Equal(before, after) && time.Now().Before(end); after = onHostNow(t, "va") {
				time.Sleep(10 * time.Millisecond) // the kernel makes a link-local address by itself
			}
			if !slices.Equal(before, after) {
				t.Errorf("on the host it is not as it was:\n%s", diff(before, after))
			}
		})
	}
}
