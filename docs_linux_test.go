package osl_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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

var indent = regexp.MustCompile(`(?m)^[\t ]+`)

func unindented(s string) string { return indent.ReplaceAllString(s, "") }
