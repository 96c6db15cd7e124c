package oci

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The configurations of docs/oci.md work as they stand there, with each runtime.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/oci.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 2 {
		t.Fatalf("%d blocks were found", len(blocks))
	}
	each(t, []string{"root"}, func(t *testing.T, m *machine, c client) {
		before := m.traces()
		for _, b := range blocks {
			dir := m.write("web", bundle{Args: show, Merge: strings.ReplaceAll(b[1], "/usr/local/bin/osl", osl)})
			file := "sandboxes: [{name: app, interfaces: [{name: eth0, type: bridge, addresses: [10.9.0.2/24]}]}]\n"
			if err := os.WriteFile(filepath.Join(dir, "net.yaml"), []byte(file), 0o644); err != nil { //nolint:gosec // others are to read it
				t.Fatal(err)
			}
			if out := m.do(m.runtime(c, "run", "-b", dir, "web")...); !strings.Contains(out, "10.9.0.2/24") {
				t.Errorf("%s: %s", b[1], out)
			}
			if now := m.traces(); now != before {
				t.Errorf("left:\n%s\nbefore:\n%s", now, before)
			}
		}
	})
}
