//go:build linux

package engine

import (
	"net/netip"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/stand"
)

// lookup is what a handle remembers beside its socket: only what the kernel
// can not say.
type lookup struct {
	adopted stand.Adopted
	links   map[string]linkRef      // index by source name
	neighs  map[neighKey]rtnl.Neigh // entries that this handle added
}

type linkRef struct {
	index int
	vxlan bool
}

// neighKey is what there is one entry for: an address, or of a forwarding
// entry the hardware address behind it.
type neighKey struct {
	ip  netip.Addr
	mac string // of forwarding entries only
}
