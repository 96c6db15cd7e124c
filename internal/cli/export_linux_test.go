package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link is a veth where nothing else is said, and so its ends can say how many queues they
// have, those on the host too: the link says it of both. Exported, it comes back so.
func TestQueuesOfALink(t *testing.T) {
	queues := func(link string) string {
		return sh(t, "ip "+link+" | grep -o 'numtxqueues [0-9]* numrxqueues [0-9]*'")
	}
	file := fileOf(t, "qu", `sandboxes: [{name: qu-a, interfaces: [{name: e0, numrxqueues: 4}]}, {name: qu-b}]
links:
  - [qu-a/e0, qu-b/e0]
  - {ends: [qu-b/e1, host/qu-h], numtxqueues: 3}`)
	for range 2 {
		want(t, 0, nil, "up", file)
		want(t, 0, nil, "diff", file)
		for link, is := range map[string]string{"-n qu-a -d link show e0": "1 numrxqueues 4", "-n qu-b -d link show e0": "1 numrxqueues 1",
			"-n qu-b -d link show e1": "3 numrxqueues 1", "-d link show qu-h": "3 numrxqueues 1"} {
			if got := queues(link); strings.TrimSpace(got) != "numtxqueues "+is {
				t.Errorf("%s: %s, not %s", link, got, is)
			}
		}
		exported := want(t, 0, nil, "export", "qu")
		want(t, 0, nil, "down", "qu")
		file = filepath.Join(t.TempDir(), "exported.yaml")
		if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Of a pair of another type they mean nothing, nor of what is no end of a link.
	for _, text := range []string{
		"sandboxes: [{name: qu-a, interfaces: [{name: e0, numrxqueues: 4}]}, {name: qu-b, interfaces: [{name: e0, type: netkit}]}]\nlinks: [[qu-a/e0, qu-b/e0]]",
		"sandboxes: [{name: qu-a, interfaces: [{name: e0, numrxqueues: 4}]}]",
	} {
		want(t, 2, []string{"numrxqueues means nothing"}, "up", fileOf(t, "qu", text))
	}
}
