package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

// built has the directory of each side's programs, none where install did not run.
var built = map[string]string{}

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

// runAll builds the daemon on osl anew, so that it is on the osl that is here.
func runAll(m *testing.M) int {
	if list := testmachine.Installed("dockerd"); len(list) > 0 && os.Getuid() == 0 {
		keep := filepath.Dir(list[len(list)-1])
		out, err := os.MkdirTemp(keep, "osl") // tests have a /tmp of their own
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(out)
		built["docker"], built["osl"] = keep, out
		for side, dir := range built {
			if err := build(keep, dir, side); err != nil {
				panic(err)
			}
			if err := builtOf(filepath.Join(dir, "dockerd"), side == "osl"); err != nil {
				panic(err)
			}
		}
	}
	return m.Run()
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

// need skips a test where it can not run.
func need(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if len(built) == 0 {
		t.Skip("dockerd is not built: test/dockerd/install does that")
	}
}
