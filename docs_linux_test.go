package osl_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/plan"
)

// Each snippet of docs/go.md is in an example, which the tests run.
func TestSnippetsAreOfExamples(t *testing.T) {
	page, err := os.ReadFile("docs/go.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("osltest/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	for _, f := range append(files, more...) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		examples.WriteString(unindented(string(b)))
	}
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(snippets) < 5 {
		t.Errorf("%d snippets were found", len(snippets))
	}
	for _, s := range snippets {
		if !strings.Contains(examples.String(), unindented(s[1])) {
			t.Errorf("no example has this snippet:\n%s", s[1])
		}
	}
}

// The first page says how many types of links there are, and the page on files what each is.
func TestTypesOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if says := fmt.Sprintf("[%d types](docs/file.md#types-of-links)", len(plan.Kinds)); !strings.Contains(string(readme), says) {
		t.Errorf("README.md does not say %q", says)
	}
	page, err := os.ReadFile("docs/file.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range plan.KindNames() {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + name + "`").MatchString(string(page)) {
			t.Errorf("docs/file.md has no row of the type %s", name)
		}
	}
}

var indent = regexp.MustCompile(`(?m)^[\t ]+`)

func unindented(s string) string { return indent.ReplaceAllString(s, "") }
