package osl_test

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/cli"
)

// The tests inside the package can not import the command, which imports the
// package. This is the code of cmd/osl, without a process of its own.
func init() {
	osl.SetCommand(func(args ...string) (int, string) {
		var stderr bytes.Buffer
		code := cli.Run(context.Background(), args, strings.NewReader(""), io.Discard, &stderr)
		return code, stderr.String()
	})
}
