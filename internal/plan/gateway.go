package plan

import (
	"fmt"
	"net/netip"
)

// ownGateway refuses a gateway that is an address of the sandbox itself, one that
// it is to have or one that others gave it: nothing is reached through it.
func (b *builder) ownGateway(w *Sandbox, s *State) error {
	if len(w.Gateways) == 0 {
		return nil
	}
	own := map[netip.Addr]bool{}
	for _, f := range w.Ifaces {
		for _, a := range f.Addrs {
			own[a.Prefix.Addr()] = true
		}
	}
	for _, a := range s.Addrs {
		if !IsOslsAddr(a) || !w.Prune {
			own[a.Prefix.Addr()] = true
		}
	}
	for _, g := range w.Gateways {
		if own[g.Via] {
			return &Problem{Key: w.Key, Kind: Invalid, Field: map[bool]string{true: "gateway", false: "gateway6"}[g.Via.Is4()], Text: fmt.Sprintf("the gateway %v is an address of the sandbox itself", g.Via)}
		}
	}
	return nil
}
