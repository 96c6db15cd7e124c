// Command gen writes the JSON Schema of network files, and the tables of fields in the
// page about them. It is run by go generate, in the directory of both.
package main

import (
	"log"
	"os"

	"github.com/seed59451c2b/osl/internal/schema"
)

func main() {
	b, err := schema.Generate("..")
	if err == nil {
		err = write("osl.schema.json", b)
	}
	if err == nil {
		b, err = os.ReadFile("file.md")
	}
	if err == nil {
		b, err = schema.Page("..", b)
	}
	if err == nil {
		err = write("file.md", b)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// Everyone may read documentation.
func write(name string, b []byte) error { return os.WriteFile(name, b, 0o644) } //nolint:gosec
