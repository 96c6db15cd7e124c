package schema

import (
	"bytes"
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
