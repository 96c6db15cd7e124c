package osl_test

import (
	"os"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestMain(m *testing.M) {
	if first := os.Getenv(firstUseEnv); first != "" {
		useFirst(first) // and no tests
	}
	testnet.Main(m)
}
