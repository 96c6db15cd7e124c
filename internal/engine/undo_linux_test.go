package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// impossible is a step that the kernel refuses, so that all before it is undone.
func impossible(key string) plan.Op {
	return plan.Op{NS: key, Dev: "none", Do: plan.NewAddr{Addr: rtnl.Addr{Index: 9999, Prefix: netip.MustParsePrefix("10.99.0.1/24")}}}
}

// undoWorld is a sandbox that nothing is in yet.
func undoWorld(t *testing.T) (*faultWorld, *osl.Namespace) {
	w := world(t, plainVeth)
	w.a = w.make("a")
	return w, w.ns("a")
}

// What goes with a link's IPv6 comes back with it when the change fails.
func TestUndoOfIPv6Off(t *testing.T) {
	_, n := undoWorld(t)
	ctx := context.Background()
	list := func(s ...string) (l []netip.Prefix) {
		for _, x := range s {
			l = append(l, netip.MustParsePrefix(x))
		}
		return l
	}
	both := osl.InterfaceSpec{Name: "d0", Type: "bridge", Addresses: list("10.7.0.1/24", "2001:db8:7::1/64")}
	six := osl.InterfaceSpec{Name: "d1", Type: "bridge", Addresses: list("2001:db8:8::1/64"), Routes: list("2001:db8:aaaa::/64")}
	before := osl.Spec{Interfaces: []osl.InterfaceSpec{both, six},
		Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("2001:db8:bbbb::/48"), Via: netip.MustParseAddr("2001:db8:aaaa::1")}}}
	if _, err := n.Apply(ctx, before); err != nil {
		t.Fatal(err)
	}
	// What osl would set otherwise is as it was, too.
	const dad, notify = "ipv6/conf/d1/accept_dad", "ipv6/conf/d1/ndisc_notify"
	inside := func(f func() error) {
		var err error
		if ierr := n.InvokeFunc(func() { err = f() }); ierr != nil || err != nil {
			t.Fatal(ierr, err)
		}
	}
	inside(func() error { return errors.Join(sysctl.Ensure(dad, "2"), sysctl.Ensure(notify, "0")) })
	bare := osl.InterfaceSpec{Name: "d1", Type: "bridge"}
	with := both
	with.Routes = six.Routes
	for name, s := range map[string][]osl.InterfaceSpec{
		"a link goes down":    {{Name: "d0", Type: "bridge", Down: true}, six},
		"routes go":           {both, bare},
		"a route moves there": {with, bare},
	} {
		p, err := engine.Prepare(ctx, wanted(osl.Network{Sandboxes: []osl.Spec{{Name: n.Key(), Interfaces: s}}}), true)
		if err != nil {
			t.Fatal(err)
		}
		ops, commit, err := p.Build()
		if err == nil {
			err = p.Run().Do(append(ops, impossible(n.Key())), commit)
		}
		p.Close()
		if err == nil || errors.Is(err, osl.ErrIncomplete) {
			t.Errorf("%s: %v", name, err)
		}
		if c, err := n.Diff(ctx, before); err != nil || len(c) > 0 {
			t.Errorf("%s: not as before: %v, %v", name, c, err)
		}
		inside(func() error {
			for path, want := range map[string]string{dad: "2", notify: "0"} {
				if have, err := sysctl.Read(path); err != nil || have != want {
					t.Errorf("%s: %s is %s, %v", name, path, have, err)
				}
			}
			return nil
		})
	}
}

// A link that can not come home, since its name is taken there meanwhile, is in
// the error.
func TestUndoWhereTheNameIsTaken(t *testing.T) {
	w, n := undoWorld(t)
	ctx := context.Background()
	w.must(n.AddInterface("va", "eth"))
	host, err := engine.DialHost()
	w.must(err)
	defer host.Close()
	w.must(host.One(ctx, rtnl.NewLink(rtnl.LinkNew{Index: 4321, Name: "va", Kind: "bridge"})))
	links, err := connOf(t, n).Links(ctx)
	w.must(err)
	r := engine.NewRun(ctx, engineOf(t, n))
	defer r.Close()
	for i := range links {
		if tag, ok := plan.ParseTag(links[i].Alias); ok {
			r.AddUndo(plan.Remove(n.Key(), &links[i], tag, &plan.State{}))
		}
	}
	if left := r.Back(); len(left) != 1 || !strings.Contains(left[0], "va") {
		t.Errorf("left: %q", left)
	}
	w.must(host.One(ctx, rtnl.DelLink(4321)))
}

// What the kernel has no support for did not happen, so nothing of it is left when it is not
// taken back either. What does not happen for another reason is.
func TestUndoOfWhatIsNotSupported(t *testing.T) {
	w, n := undoWorld(t)
	ctx := context.Background()
	w.must(n.AddInterface("va", "eth"))
	links, err := connOf(t, n).Links(ctx)
	w.must(err)
	i := slices.IndexFunc(links, func(l rtnl.Link) bool { return l.Kind == "veth" })
	stp := func(index int, on uint32) plan.Op { // of what is no bridge
		op := plan.Op{NS: n.Key(), Dev: "eth", Half: true}
		set := plan.SetBridge{Index: index}
		set.Options.Set(rtnl.BridgeSTP, on)
		op.Do = set
		return op
	}
	for index, refused := range map[int]bool{links[i].Index: false, 9999: true} {
		op := stp(index, 1)
		op.Undo = []plan.Op{stp(index, 0)}
		if refused { // ENODEV of the step, and of a step that was done EOPNOTSUPP
			op.Undo = []plan.Op{stp(links[i].Index, 0)}
		}
		r := engine.NewRun(ctx, engineOf(t, n))
		err := r.Do([]plan.Op{op}, plan.Commit{})
		r.Close()
		if err == nil || errors.Is(err, osl.ErrIncomplete) != refused {
			t.Errorf("of the link %d: %v", index, err)
		}
	}
}
