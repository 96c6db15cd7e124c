package engine_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/seed59451c2b/osl"
)

// Two files of one network that are brought up at once: one comes after the other, and what
// only the first has goes. So it is with one that goes down.
func TestOneNetworkAtOnce(t *testing.T) {
	w := world(t, "")
	ctx := context.Background()
	lab := func(names ...string) (n osl.Network) {
		n.Name = "lab"
		for _, name := range names {
			n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{
				{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far-" + name[:1]}}}})
		}
		return n
	}
	list := [][]string{{"a", "b1"}, {"b2", "c"}, nil}
	before := look(t)
	for range 10 {
		var all sync.WaitGroup
		for _, names := range list {
			all.Go(func() {
				var err error
				if names == nil {
					_, err = osl.Down(ctx, osl.Network{Name: "lab"})
				} else {
					_, err = osl.Apply(ctx, lab(names...))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		there, err := osl.List(ctx)
		w.must(err)
		var names []string
		for _, s := range there {
			names = append(names, s.Name)
		}
		switch fmt.Sprint(names) {
		case fmt.Sprint(list[0]), fmt.Sprint(list[1]):
			if c, err := osl.Diff(ctx, lab(names...)); err != nil || len(c) > 0 {
				t.Errorf("diff: %v\n%s", err, c)
			}
		case "[]":
		default:
			t.Errorf("there are %v", names)
		}
	}
	_, err := osl.Down(ctx, osl.Network{Name: "lab"})
	w.must(err)
	if after := look(t); diff(before, after) != "" {
		t.Errorf("left:\n%s", diff(before, after))
	}
}

// Networks of one name in two base paths have nothing to do with each other, also when the
// one base path goes away.
func TestOneNameInTwoBases(t *testing.T) {
	world(t, "")
	ctx := context.Background()
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a"}}}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				dir := t.TempDir()
				b := osl.At(dir)
				if _, err := b.Apply(ctx, n); err != nil {
					t.Error(err)
				}
				if _, err := b.Down(ctx, n); err != nil {
					t.Error(err)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
