package cli

import (
	"context"
	"os"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// asCommand makes the test binary the osl command, for what needs a process of
// its own: signals, and the way into the user's namespaces.
const asCommand = "OSL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" { // as in cmd/osl
		ExecAtOnce(os.Args[1:])
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	testnet.Main(m)
}
