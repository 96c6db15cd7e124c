package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
)

// However keys are spelt, their locks are taken in one order: who waits for the first has
// not taken the second.
func TestLocksOfKeysSpeltThroughLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"m", "z"} {
		if err := os.Symlink("real", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	first, second := filepath.Join(dir, "real", "a"), filepath.Join(dir, "real", "b")
	lab := osl.Network{Sandboxes: []osl.Spec{{Name: filepath.Join(dir, "m", "b")}, {Name: filepath.Join(dir, "z", "a")}}}
	waits := func(call func(context.Context) error) {
		t.Helper()
		unlock, err := engine.Lock(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- call(ctx) }()
		time.Sleep(100 * time.Millisecond) // for it to wait; too short a time finds nothing wrong
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		other, err := engine.Lock(short, second)
		if err != nil {
			t.Errorf("who waits for the first lock has the second: %v", err)
		} else {
			other()
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it did not wait: %v", err)
		}
		unlock()
	}
	apply := func(ctx context.Context) error { _, err := osl.Apply(ctx, lab); return err }
	waits(apply)
	if err := apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	down := func(ctx context.Context) error { _, err := osl.Down(ctx, lab); return err }
	waits(down)
	if err := down(t.Context()); err != nil {
		t.Fatal(err)
	}
}
