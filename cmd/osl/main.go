// Command osl builds networks of sandboxes (network namespaces), looks into
// them, and takes them down.
package main

import (
	"context"
	"os"

	"github.com/seed59451c2b/osl/internal/cli"
)

func main() {
	cli.ExecAtOnce(os.Args[1:])
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
