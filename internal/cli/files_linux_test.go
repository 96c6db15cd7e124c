package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// Several files are one network, for each verb.
func TestSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	for path, text := range map[string]string{
		a:                               "include: part.yaml\nsandboxes: [{name: fa, interfaces: [{name: e0, addresses: [10.0.0.1/24]}]}]\n",
		b:                               "sandboxes: [{name: fb}]\nlinks: [[fa/e0, fb/e0], [fb/e1, fc/e1]]\nchecks: [{from: fa, ping: \"${FILES_PING:-10.0.0.1}\"}]\n",
		filepath.Join(dir, "part.yaml"): "sandboxes: [{name: fc, sysctls: {ipv4.no_such: 1}}]\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(t, exitUsage, []string{"part.yaml:1: ", "no_such"}, "up", a, b)
	if err := os.WriteFile(filepath.Join(dir, "part.yaml"), []byte("sandboxes: [{name: fc}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := traces(t)
	want(t, exitDone, []string{"created 3 sandboxes", "ping"}, "up", a, b)
	want(t, exitDone, []string{"a+b"}, "ls")
	want(t, exitDone, []string{"nothing to change"}, "diff", b, a)
	want(t, exitDone, []string{"ping"}, "check", a, b)
	want(t, exitFailed, []string{`part.yaml:1: `, `of the network "a+b"`}, "up", a)
	want(t, exitUsage, []string{"is given twice"}, "up", a, a)
	want(t, exitDone, []string{"removed 3 sandboxes"}, "down", a, b)
	eventually(t, func() []string { return difference(before, traces(t)) })
}
