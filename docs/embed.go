// Package docs holds the files of the documentation that the command carries.
package docs

import _ "embed"

//go:generate go run ../internal/schema/gen

// Schema is the JSON Schema of network files.
//
//go:embed osl.schema.json
var Schema []byte
