package schema

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/seed59451c2b/osl/docs"
)

func TestSchemaIsFresh(t *testing.T) {
	want, err := Generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(docs.Schema, want) {
		t.Error("docs/osl.schema.json is stale: run go generate ./docs")
	}
}

// Each field that an editor offers has a sentence, of its own or where it refers to.
func TestEachFieldIsDescribed(t *testing.T) {
	var schema any
	if err := json.Unmarshal(docs.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				if props, is := x.(map[string]any); name == "properties" && is {
					for field, p := range props {
						of, _ := p.(map[string]any)
						if of["description"] == nil && of["$ref"] == nil {
							t.Errorf("%s: %s has no sentence", at, field)
						}
					}
				}
				walk(at+"/"+name, x)
			}
		case []any:
			for _, x := range v {
				walk(at, x)
			}
		}
	}
	walk("", schema)
}
