//go:build !linux || (!amd64 && !arm64)

package inside

import (
	"fmt"

	"github.com/seed59451c2b/osl/internal/fault"
)

func enterer() (string, error) {
	return "", fmt.Errorf("%w: start the command with Do, on its thread", fault.ErrUnsupported)
}
