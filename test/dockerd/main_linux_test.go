package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

// built has the directory of each side's programs, of each version that a test asked for.
var built = map[*version]map[string]string{}

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	defer func() {
		for _, dirs := range built {
			os.RemoveAll(dirs["osl"])
		}
	}()
	return m.Run()
}

// need returns the directory of each side's programs of a version, and skips a test where
// it can not run. The daemon on osl is built anew, so that it is on the osl that is here.
func (v *version) need(t *testing.T) map[string]string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if built[v] != nil {
		return built[v]
	}
	called, err := v.called()
	if err != nil {
		t.Fatal(err)
	}
	list := testmachine.Installed("dockerd")
	at := slices.IndexFunc(list, func(path string) bool { return filepath.Base(filepath.Dir(path)) == called })
	if at < 0 {
		t.Skipf("%s is not built: test/dockerd/install does that", called)
	}
	keep := filepath.Dir(list[at])
	out, err := os.MkdirTemp(keep, "osl") // tests have a /tmp of their own
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{"docker": keep, "osl": out}
	for side, dir := range dirs {
		if err = v.build(keep, dir, side); err == nil {
			err = builtOf(filepath.Join(dir, "dockerd"), side == "osl")
		}
		if err != nil {
			os.RemoveAll(out)
			t.Fatal(err)
		}
	}
	built[v] = dirs
	return dirs
}

// builtOf makes sure of which package a program has: with the same one on both sides all
// would be the same.
func builtOf(path string, osl bool) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/seed59451c2b/osl" {
			if osl {
				return nil
			}
			return fmt.Errorf("%s is on osl", path)
		}
	}
	if osl {
		return fmt.Errorf("%s is not on osl", path)
	}
	return nil
}
