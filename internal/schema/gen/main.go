// Command gen writes the JSON Schema of network files. It is run by go
// generate, in the directory of the schema.
package main

import (
	"log"
	"os"

	"github.com/seed59451c2b/osl/internal/schema"
)

func main() {
	b, err := schema.Generate("..")
	if err == nil {
		// Everyone may read a schema.
		err = os.WriteFile("osl.schema.json", b, 0o644) //nolint:gosec
	}
	if err != nil {
		log.Fatal(err)
	}
}
