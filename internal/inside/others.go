//go:build !linux

package inside

import (
	"net/netip"

	"github.com/seed59451c2b/osl/internal/fault"
)

// There are no sandboxes on this system: Space.Run runs none of these.

func replace(int, string, bool) error { return fault.ErrUnsupported }
func socket(_, _, _ int) (int, error) { return -1, fault.ErrUnsupported }
func haveIPv6() error                 { return fault.ErrUnsupported }
func linkIndex(string) (int, error)   { return 0, fault.ErrUnsupported }
func routed(netip.Addr) bool          { return false }
