package engine_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// A step about a wireguard link is refused for what it is: the kernel has none, or not this
// link. What came before it is taken back.
func TestWireGuardThatIsNot(t *testing.T) {
	w, n := undoWorld(t)
	port := uint16(7)
	r := engine.NewRun(t.Context(), engineOf(t, n))
	defer r.Close()
	before := look(t)
	err := r.Do([]plan.Op{
		{NS: n.Key(), Dev: "lo", Do: plan.NewAltName{Index: 1, Names: []string{"before"}}, Undo: []plan.Op{{NS: n.Key(), Dev: "lo", Do: plan.DelAltName{Index: 1, Names: []string{"before"}}}}},
		{NS: n.Key(), Dev: "wg0", Do: plan.SetWireGuard{Set: rtnl.WGSet{Index: 4321, ListenPort: &port}}},
	}, plan.Commit{})
	if !errors.Is(err, osl.ErrUnsupported) && !errors.Is(err, unix.ENODEV) {
		t.Errorf("%v", err)
	}
	if d := diff(before, look(t)); d != "" {
		t.Errorf("not as before:\n%s", d)
	}
	w.must(n.DisableARPForVIP("lo")) // it works still
}

// A record about a wireguard link is carried out on one only, and where there is none it
// does no harm: it is done with.
func TestRecordOfNoWireGuard(t *testing.T) {
	w, n := undoWorld(t)
	w.must(n.AddLink(t.Context(), osl.InterfaceSpec{Name: "b0", Type: "bridge"}))
	st, err := n.Inspect(t.Context())
	w.must(err)
	before := look(t)
	var steps []plan.Step
	for _, index := range []int{st.Interfaces[0].Index, 4321} {
		port := uint16(7)
		steps = append(steps, plan.Step{WireGuard: &rtnl.WGSet{Index: index, ListenPort: &port}})
	}
	names, _ := plan.Record{Role: plan.Undo, ID: "1", Steps: steps}.Names()
	w.must(connOf(t, n).One(t.Context(), rtnl.NewAltName(1, names...)))
	w.must(osl.Recover(t.Context(), n.Key()))
	if d := diff(before, look(t)); d != "" {
		t.Errorf("not as before:\n%s", d)
	}
}
