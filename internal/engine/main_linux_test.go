package engine_test

import (
	"os"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestMain(m *testing.M) {
	if o := os.Getenv(operationEnv); o != "" {
		perform(o) // and no tests
	}
	if os.Getenv(callsEnv) != "" {
		makeCalls() // and no tests
	}
	testnet.Main(m)
}
