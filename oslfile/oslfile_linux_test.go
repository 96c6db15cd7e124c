package oslfile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
	"github.com/seed59451c2b/osl/oslfile"
)

func TestMain(m *testing.M) { testnet.Main(m) }

func ExampleLoadNetwork() {
	ctx := context.Background()
	network, err := oslfile.LoadNetwork("../examples/quickstart.yaml")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := osl.Apply(ctx, network); err != nil {
		log.Fatal(err)
	}
	results, err := oslfile.RunChecks(ctx, network)
	fmt.Println(network.Name, len(results) > 0, err)
	if _, err := osl.Down(ctx, network); err != nil {
		log.Fatal(err)
	}
	// Output: quickstart true <nil>
}

func TestErrorsHaveTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"sandboxes:\n  - name: a\n    interfacs: []\n":                                    "lab.yaml:3",
		"sandboxes: [{name: a}]\nchecks:\n  - {from: a, ping: 10.0.0.1, expect: maybe}\n": "lab.yaml:3",
		"sandboxes: [{name: a}]\nchecks:\n  - {from: a}\n":                                "lab.yaml:3",
		"sandboxes: [{name: a}]\nchecks:\n  - {from: b, ping: 10.0.0.1}\n":                "lab.yaml:3",
		"include: [no-such-file]\n":                                                       "lab.yaml:1",
		"":                                                                                "empty",
	} {
		if _, err := oslfile.ParseNetwork("lab.yaml", []byte(text)); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %q", err, want)
		}
		path := filepath.Join(t.TempDir(), "lab.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := oslfile.LoadNetwork(path); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %q", err, want)
		}
	}
	if _, err := oslfile.LoadNetwork("no-such-file"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, osl.ErrInvalid) {
		t.Error(err)
	}
	if _, err := oslfile.RunChecks(t.Context(), osl.Network{Checks: []osl.Check{{From: "a"}}}); !errors.Is(err, osl.ErrInvalid) {
		t.Error(err)
	}
}

// A check that fails is an error that says which.
func TestFailedCheck(t *testing.T) {
	network, err := oslfile.ParseNetwork("lab.yaml", []byte("sandboxes: [{name: oc}]\nchecks:\n  - {from: oc, tcp: '127.0.0.1:9'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := osl.Apply(t.Context(), network); err != nil {
		t.Fatal(err)
	}
	defer osl.Down(context.Background(), network)
	results, err := oslfile.RunChecks(t.Context(), network)
	if len(results) != 1 || results[0].Passed || err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v, %v", results, err)
	}
}
