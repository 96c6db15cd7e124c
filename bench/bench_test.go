//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary be the benchmark, in namespaces of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asBenchmark) != "" {
		makers["idle"] = func() contender { return &idle{} }
		main()
	}
	os.Exit(m.Run())
}

const asBenchmark = "OSL_BENCH_TEST"

// TestQuick runs each row with each contender once: all of them reach the end
// state, and the report has a figure for each cell that should have one.
func TestQuick(t *testing.T) {
	with := "floor,calls,osl,moby,ip"
	if _, err := exec.LookPath("ip"); err != nil {
		t.Log("the ip command is not installed: left out")
		with = "floor,calls,osl,moby"
	}
	out := t.TempDir()
	cmd := exec.Command(os.Args[0], "-quick", "-growth", "-with", with, "-out", out)
	cmd.Env = append(os.Environ(), asBenchmark+"=1")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) < 25 {
		t.Errorf("%d rows", len(r.Rows))
	}
	for _, x := range r.Rows {
		for _, c := range strings.Split(with, ",") {
			if s, in := x.By[c]; in && s.N == 0 {
				t.Errorf("%s, %s: no figure", x.Name, c)
			}
		}
		if _, in := x.By["floor"]; !in && x.Name != "Info of an unchanged sandbox" && x.Name != "the same with IPv6 addresses" {
			t.Errorf("%s: no floor", x.Name)
		}
		if _, in := x.By["osl"]; !in && x.Name != "create from a warm pool" {
			t.Errorf("%s: osl is not measured", x.Name)
		}
	}
	if len(r.Growth) != len(growers()) {
		t.Errorf("%d growths, want %d", len(r.Growth), len(growers()))
	}
	for _, g := range r.Growth {
		for _, c := range []string{"floor", "osl", "moby"} {
			if len(g.By[c]) != 2 {
				t.Errorf("growth of %s, %s: %d points, want 2", g.Name, c, len(g.By[c]))
			}
		}
		svg, err := os.ReadFile(filepath.Join(out, g.file()))
		if err != nil || !strings.Contains(string(svg), "<svg") || !strings.Contains(string(svg), "osl") {
			t.Errorf("%s is no plot: %v", g.file(), err)
		}
	}
	if md, err := os.ReadFile(filepath.Join(out, "table.md")); err != nil || !strings.Contains(string(md), "| gateway set ") {
		t.Errorf("table.md: %v\n%s", err, md)
	}
}

// TestBadEndState lets a contender claim what it did not do: its row has no
// figure, and the run fails.
func TestBadEndState(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-quick", "-with", "floor,idle", "-rows", "^gateway set$")
	cmd.Env = append(os.Environ(), asBenchmark+"=1")
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1", err)
	}
	want := "gateway set, idle: the end state of step 1: no route to 0.0.0.0/0"
	if strings.Count(string(text), "FAILED") != 1 || !strings.Contains(string(text), want) {
		t.Errorf("want one failure, %q, in:\n%s", want, text)
	}
}

// idle is the floor, but for the gateway that it says to set.
type idle struct{ floorContender }

func (*idle) Name() string { return "idle" }

func (c *idle) Create(name string) (sandbox, error) {
	s, err := c.floorContender.Create(name)
	return idleSandbox{s}, err
}

type idleSandbox struct{ sandbox }

func (idleSandbox) SetGateway(*route) error { return nil }
