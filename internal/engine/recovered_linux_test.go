package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// pair is a network of the sandboxes a and b with these bridges in each.
func pair(bridges ...string) (net osl.Network) {
	for _, name := range []string{"a", "b"} {
		s := osl.Spec{Name: name}
		for _, br := range bridges {
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: br, Type: "bridge"})
		}
		net.Sandboxes = append(net.Sandboxes, s)
	}
	return net
}

// interrupted is a world in which before was applied, and after was left by a
// process that died when it had happened, or just before.
func interrupted(t *testing.T, host string, before, after osl.Network, happened bool) *faultWorld {
	t.Helper()
	w := world(t, host)
	if _, err := osl.Apply(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	abandoned(w, after, happened)
	return w
}

// complete demands that a sandbox is as a network says.
func complete(t *testing.T, what string, net osl.Network, i int) {
	t.Helper()
	n, err := osl.Open(t.Context(), net.Sandboxes[i].Name)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer n.Close()
	if c, err := n.Diff(t.Context(), net.Sandboxes[i]); err != nil || len(c) > 0 {
		t.Errorf("%s: %s is not complete: %v, %v", what, net.Sandboxes[i].Name, c, err)
	}
}

// A change that has happened in several sandboxes stays so for all of them,
// also where the one that leads it ends before the others are tidied up.
func TestLeaderThatEndsFirst(t *testing.T) {
	for name, c := range map[string]struct{ before, after osl.Network }{
		"both are made":     {osl.Network{}, pair("br0")},
		"both change":       {pair("br0"), pair("br1", "br2")},
		"the other is made": {osl.Network{Sandboxes: pair().Sandboxes[:1]}, pair("br0", "br1")},
	} {
		w := interrupted(t, "", c.before, c.after, true)
		w.must(osl.Remove(t.Context(), "a"))
		complete(t, name, c.after, 1)
		w.clear()
	}
}

// What was begun with a leader that was there ends with it, or with what it was.
func TestPartsOfALeaderThatIsThere(t *testing.T) {
	before := osl.Network{Sandboxes: pair("br0").Sandboxes[:1]}
	for name, then := range map[string]func() error{
		"recovered by another name": func() error {
			link := t.TempDir() + "/run"
			return errors.Join(os.Symlink("/run", link), osl.Recover(context.Background(), link+"/netns/a"))
		},
		"recovered": func() error { return osl.Recover(context.Background(), "a") },
		"made anew": anewA,
		"removed":   func() error { return osl.Remove(context.Background(), "a") },
		"removed with the others": func() error {
			begun := time.Now()
			_, err := osl.Down(context.Background(), pair())
			if time.Since(begun) > engine.LockWait/2 {
				t.Error("Down waits for itself")
			}
			return err
		},
	} {
		w := interrupted(t, "", before, pair("br0", "br1"), false)
		w.must(then())
		if n, err := osl.Open(t.Context(), "b"); !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("%s: b, which was never complete: %v", name, err)
			if err == nil {
				n.Close()
			}
		}
		w.clear()
	}
}

func anewA() error {
	sb, err := osl.NewSandbox("a", true, false)
	if err != nil {
		return err
	}
	return sb.(*osl.Namespace).Close()
}

// A Down that died in the middle is finished, whatever becomes of the leader.
func TestDownOfALeaderThatIsMadeAnew(t *testing.T) {
	ctx := t.Context()
	w := world(t, plainVeth)
	net := pair()
	net.Sandboxes[1].Interfaces = []osl.InterfaceSpec{{Name: "wan", Source: "va"}}
	if _, err := osl.Apply(ctx, net); err != nil {
		t.Fatal(err)
	}
	w.must(engine.MarkToEnd(ctx, "/run/netns/a", "/run/netns/b")) // it dies here
	w.must(anewA())
	if _, err := osl.Open(ctx, "b"); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("b is to end: %v", err)
	}
	if l, err := onTheHost("va"); err != nil {
		t.Errorf("va: %v, %v", l, err)
	}
}

// An end on the host that made room for one of a new sandbox has its name again when that,
// which leads the change, is put back.
func TestNameOnTheHostOfALeaderThatIsPutBack(t *testing.T) {
	ctx := t.Context()
	with := func(name string) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far"}}}}}}
	}
	for what, then := range map[string]func() error{
		"recovered": func() error { return osl.Recover(ctx, "a") },
		"removed":   func() error { return osl.Remove(ctx, "a") },
	} {
		w := interrupted(t, "", with("b"), with("a"), false)
		if err := then(); err != nil && !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
		complete(t, what, with("b"), 0)
		if l, err := onTheHost("far"); err != nil {
			t.Errorf("%s: far: %v, %v", what, l, err)
		}
		w.clear()
	}
}

func onTheHost(name string) (l rtnl.Link, err error) {
	host, err := engine.DialHost()
	if err != nil {
		return l, err
	}
	defer host.Close()
	err = host.One(context.Background(), rtnl.GetLink(0, name, &l))
	return l, err
}

// What is to be tidied up after a change is, also where its time is over by then.
func TestTidyWhenTheTimeIsOver(t *testing.T) {
	w := world(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	p, err := engine.Prepare(ctx, wanted(pair("br0")), true)
	w.must(err)
	ops, commit, err := p.Build()
	w.must(err)
	ops = plan.Journal(ops, commit, p.Run().Setting)
	n := 1 + slices.IndexFunc(ops, func(op plan.Op) bool { return op.Commit })
	w.must(p.Run().Forward(ops[:n]))
	cancel()
	for ; n < len(ops); n++ {
		p.Run().Tidy(ops[n : n+1])
	}
	p.Close()
	list, err := osl.List(t.Context())
	w.must(err)
	for _, e := range list {
		if e.Problem != "" {
			t.Errorf("%+v", e)
		}
	}
}

// The leader keeps the note of its parts where one could not be tidied up.
func TestPartThatIsNotTidiedUp(t *testing.T) {
	w := world(t, "")
	p, err := engine.Prepare(t.Context(), wanted(pair("br0")), true)
	w.must(err)
	ops, commit, err := p.Build()
	w.must(err)
	ops = plan.Journal(ops, commit, p.Run().Setting)
	n := slices.IndexFunc(ops, func(op plan.Op) bool { return op.Commit })
	w.must(p.Run().Forward(ops[:n]))
	w.must(p.Run().Open("/run/netns/b").Close())
	w.must(p.Run().Forward(ops[n:]))
	p.Close()
	w.must(osl.Remove(t.Context(), "a"))
	complete(t, "after its leader", pair("br0"), 1)
}

// A handle of the host's namespace puts back what one before it left.
func TestHandleOfTheHost(t *testing.T) {
	w := world(t, plainVeth+"link add left index 4321 type bridge\n")
	names, _ := plan.Record{Role: plan.Undo, ID: "1", Steps: []plan.Step{{Gone: 4321}}}.Names()
	other, _ := plan.Record{Role: plan.Undo, ID: "2", Leader: "/run/netns/a", Steps: []plan.Step{{Gone: 41}}}.Names()
	host, err := engine.DialHost()
	w.must(err)
	defer host.Close()
	w.must(host.One(t.Context(), rtnl.NewAltName(1, slices.Concat(names, other)...)))
	sb, err := osl.NewSandbox("host", false, false)
	w.must(err)
	w.must(sb.(*osl.Namespace).DisableARPForVIP("va"))
	w.must(sb.Destroy())
	if l, err := onTheHost("left"); err == nil {
		t.Errorf("it is there: %+v", l)
	}
	// What another leads is not its business.
	if l, err := onTheHost("va"); err != nil || l.Index != 41 {
		t.Errorf("a part of another change: %+v, %v", l, err)
	}
	w.must(host.One(t.Context(), rtnl.DelAltName(1, other...)))
}

// A link of the host that is half moved is home again before its source is
// looked for.
func TestUpAgainAfterAMove(t *testing.T) {
	net := osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "wan", Source: "va"}}}}}
	w := interrupted(t, plainVeth+"link add wan type bridge\n", osl.Network{}, net, false)
	if c, err := osl.Diff(t.Context(), net); len(c) == 0 && err == nil {
		t.Error("there is nothing to do")
	}
	_, err := osl.Apply(t.Context(), net)
	w.must(err)
	complete(t, "up again", net, 0)
	if l, err := onTheHost("wan"); err != nil || l.Kind != "bridge" {
		t.Errorf("another link of the host: %+v, %v", l, err)
	}
}

// A handle that was open when another process died puts back what that left before
// it changes anything.
func TestHandleOverWhatADeadProcessLeft(t *testing.T) {
	via := netip.MustParseAddr("10.7.0.254")
	net1 := osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", Addresses: v4("10.7.0.1/24")}}}}}
	net2 := osl.Network{Sandboxes: []osl.Spec{{Name: "a", Gateway: via, Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", MTU: 1400, Addresses: v4("10.7.0.1/24")}}}}}
	w := world(t, "")
	_, err := osl.Apply(t.Context(), net1)
	w.must(err)
	n, err := osl.Open(t.Context(), "a")
	w.must(err)
	defer n.Close()
	abandoned(w, net2, false)
	w.must(n.SetGateway(net.IP(via.AsSlice())))
	w.must(osl.Recover(t.Context(), "a"))
	net1.Sandboxes[0].Gateway = via
	complete(t, "a handle that was open", net1, 0)
}

// A name that is taken on the host is found before the change has happened.
func TestNameTakenBeforeTheCommit(t *testing.T) {
	w := world(t, plainVeth)
	before := osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "wan", Source: "va"}, {Name: "br0", Type: "bridge"}}}}}
	_, err := osl.Apply(t.Context(), before)
	w.must(err)
	w.batch("link add va type bridge\n")
	p, err := engine.Prepare(t.Context(), wanted(pair("br0", "br1")), true)
	w.must(err)
	ops, commit, err := p.Build()
	w.must(err)
	// Without the way back, as where the process dies at its begin.
	err = p.Run().Forward(plan.Journal(ops, commit, p.Run().Setting))
	p.Close()
	if !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("a taken name: %v", err)
	}
	w.batch("link del va\n")
	complete(t, "put back", before, 0)
}

// A record that names its own sandbox, or what is none, keeps nobody waiting.
func TestForgedParts(t *testing.T) {
	w := world(t, "")
	w.make("a")
	names, _ := plan.Record{Role: plan.Undo, ID: "1", Parts: []string{"/run/netns/a", "/etc/passwd", "/run/netns/../x", "b"},
		Steps: []plan.Step{{Path: "ipv4/conf/none/forwarding", Value: "1"}, {Gone: 4711}}}.Names()
	w.must(connOf(t, w.ns("a")).One(t.Context(), rtnl.NewAltName(1, names...)))
	begun := time.Now()
	w.must(osl.Recover(t.Context(), "a"))
	if time.Since(begun) > engine.LockWait/2 {
		t.Error("it waits for itself")
	}
	w.must(osl.Remove(t.Context(), "a"))
}

// What is left of a change that has happened, whose marks were not all taken away when it was
// killed, is put right one by one, and the others are not looked at each time.
func TestMarksOfAChangeThatHappened(t *testing.T) {
	ctx := t.Context()
	w := world(t, "")
	sends := func(n int) int64 {
		w.clear()
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprintf("/run/netns/m%02d", i))
			w.make(filepath.Base(keys[i]))
		}
		leader, err := engine.OpenAt(keys[0])
		w.must(err)
		defer leader.Close()
		var was, marked rtnl.Link
		w.must(leader.Conn().One(ctx, rtnl.GetLink(1, "", &was)))
		w.must(engine.MarkToEnd(ctx, keys...))
		w.must(leader.Conn().One(ctx, rtnl.GetLink(1, "", &marked)))
		w.must(leader.Conn().One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Alias: &was.Alias})))
		for _, name := range marked.AltName {
			w.must(leader.Conn().One(ctx, rtnl.DelAltName(1, name)))
		}
		var sends, recvs atomic.Int64
		netlink.Intercept = func(t netlink.Transport) netlink.Transport { return counter{t, &sends, &recvs} }
		for _, key := range keys {
			w.must(osl.Recover(ctx, key))
		}
		netlink.Intercept = nil
		entries, err := osl.List(ctx)
		w.must(err)
		if len(entries) != n {
			t.Errorf("%d of %d stand", len(entries), n)
		}
		return sends.Load()
	}
	if few, many := sends(4), sends(12); many > 4*few {
		t.Errorf("%d messages for 4 sandboxes, and %d for 12", few, many)
	}
}
