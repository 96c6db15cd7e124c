package inside

import (
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Main(m) }
