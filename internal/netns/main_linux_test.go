package netns

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// lockHelper makes the test binary hold a lock until it is killed.
const lockHelper = "OSL_TEST_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(lockHelper); path != "" {
		if _, err := new(Locks).Lock(context.Background(), time.Minute, path, "key"); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		time.Sleep(time.Minute)
		os.Exit(1)
	}
	testnet.Main(m)
}
