package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/plan"
)

// A record that says that a link is to go back to another sandbox is believed only where
// that says so too: who has rights in one alone could have written it.
func TestMoveThatOneSandboxSays(t *testing.T) {
	w := world(t, "")
	for _, name := range []string{"a", "b"} {
		w.make(name)
		w.ip("-n", name, "link", "add", "mine", "index", "77", "type", "bridge")
	}
	before := w.still().kernel
	for _, m := range []plan.Move{{Key: "/run/netns/b", Here: 77, There: 78}, {Key: "/run/netns/b", Here: 78, There: 77, Back: true}} {
		names, ok := plan.Record{Role: plan.Undo, ID: "1", Steps: []plan.Step{{Move: &m}}}.Names()
		if !ok {
			t.Fatal("the record does not fit")
		}
		w.ip(append([]string{"-n", "a", "link", "property", "add", "dev", "lo"}, altnames(names)...)...)
		w.must(osl.Recover(context.Background(), "a"))
		if after := w.still().kernel; diff(before, after) != "" {
			t.Errorf("%+v has changed this:\n%s", m, diff(before, after))
		}
	}
}

func altnames(names []string) (args []string) {
	for _, name := range names {
		args = append(args, "altname", name)
	}
	return args
}

// A link that others are made on stays where it is: they would hang on it from elsewhere.
func TestMoveOfALinkBelowAnother(t *testing.T) {
	w := world(t, plainVeth)
	lab := func(in string) osl.Network {
		n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}}
		for i := range n.Sandboxes {
			if s := &n.Sandboxes[i]; s.Name == in {
				s.Interfaces = []osl.InterfaceSpec{{Name: "wan", Source: "va"}, {Name: "mv0", Type: "macvlan", Parent: "wan", Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}}}
			}
		}
		return n
	}
	ctx := context.Background()
	_, err := osl.Apply(ctx, lab("a"))
	w.must(err)
	before := w.still().kernel
	if _, err := osl.Apply(ctx, lab("b")); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `"mv0" is on it`) {
		t.Errorf("it is moved: %v", err)
	}
	if after := w.still().kernel; diff(before, after) != "" {
		t.Errorf("it changed this:\n%s", diff(before, after))
	}
	_, err = osl.Apply(ctx, lab(""))
	w.must(err)
	_, err = osl.Apply(ctx, lab("b"))
	w.must(err)
}
