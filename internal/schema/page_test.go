package schema

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/netfile"
)

func TestPageIsFresh(t *testing.T) {
	have, err := os.ReadFile("../../docs/file.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := Page("../..", have)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("docs/file.md is stale: run go generate ./docs")
	}
}

var blocks = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Each block of YAML in the page is a file that osl reads, but for what "# of a …"
// in its first line says it is a part of.
func TestExamplesOfPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/file.md")
	if err != nil {
		t.Fatal(err)
	}
	around := map[string]string{
		"# of a sandbox\n":    "sandboxes:\n- name: a\n",
		"# of an interface\n": "sandboxes:\n- name: a\n  interfaces:\n  - name: a0\n",
	}
	for _, m := range blocks.FindAllStringSubmatch(string(page), -1) {
		text := m[1]
		for first, before := range around {
			if strings.HasPrefix(text, first) {
				indent := strings.Repeat(" ", 2*strings.Count(before, "-"))
				text = before + indent + strings.ReplaceAll(text, "\n", "\n"+indent)
			}
		}
		if _, err := netfile.Parse("docs/file.md", []byte(text)); err != nil {
			t.Errorf("%v\nin:\n%s", err, text)
		}
	}
}

// The example of a field is that field, and one that osl reads.
func TestWords(t *testing.T) {
	page, err := os.ReadFile("../../docs/file.md")
	if err != nil {
		t.Fatal(err)
	}
	// Where a type stands in a file, and what it needs.
	around := map[string]struct {
		frame  string
		needed []string
	}{
		"Network":        {"{%s}", []string{"sandboxes: []"}},
		"Spec":           {"sandboxes: [{%s}]", []string{"name: z"}},
		"InterfaceSpec":  {"sandboxes: [{name: z, interfaces: [{%s}]}]", []string{"name: z"}},
		"MasqueradeSpec": {"sandboxes: [{name: host, masquerade: [{%s}]}]", []string{"subnet: 10.0.0.0/8", "uplink: z"}},
		"ImpairSpec":     {"sandboxes: [{name: z, interfaces: [{name: z, impair: {%s}}]}]", nil},
		"RouteSpec":      {"sandboxes: [{name: z, routes: [{%s}]}]", []string{"to: 10.0.0.0/8"}},
		"NeighborSpec":   {"sandboxes: [{name: z, neighbors: [{%s}]}]", []string{"dev: z", "ip: 10.0.0.1", "mac: 02-00-00-00-00-01"}},
		"SegmentSpec":    {"{sandboxes: [], segments: [{%s}]}", []string{"name: z"}},
		"Check":          {"{sandboxes: [], checks: [{%s}]}", []string{"from: z"}},
	}
	for field, w := range words {
		of, name, _ := strings.Cut(field, ".")
		if !strings.Contains(string(page), "\n| `"+name+"` |") || !strings.HasPrefix(w.example, name+":") {
			t.Errorf("%s: the page has no such field, or its example is another's: %s", field, w.example)
		}
		a, ok := around[of]
		if !ok {
			continue
		}
		inner := []string{w.example}
		for _, n := range a.needed {
			if !strings.HasPrefix(n, name+":") {
				inner = append(inner, n)
			}
		}
		if _, err := netfile.Parse(field, []byte(strings.Replace(a.frame, "%s", strings.Join(inner, ", "), 1))); err != nil {
			t.Error(err)
		}
	}
}
