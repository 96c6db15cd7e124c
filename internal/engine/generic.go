//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// generic is a socket of generic netlink in a namespace, with the numbers of the families
// that were asked for.
type generic struct {
	conn     *netlink.Conn
	families map[string]uint16
}

// dialGeneric opens one in the namespace of a descriptor.
func dialGeneric(fd int) (*generic, error) {
	conn, err := dialWith(fd, netlink.DialGeneric)
	if err != nil {
		return nil, err
	}
	return &generic{conn, map[string]uint16{}}, nil
}

// families are those that osl knows, and what the kernel lacks that has one not.
var families = map[string]string{
	rtnl.EthtoolFamily:   "the kernel has no netlink interface of ethtool (CONFIG_ETHTOOL_NETLINK)",
	rtnl.WireGuardFamily: "the kernel has no WireGuard (CONFIG_WIREGUARD)",
}

// family returns the number of a family.
func (g *generic) family(ctx context.Context, name string) (id uint16, err error) {
	if id, known := g.families[name]; known {
		return id, nil
	}
	if err = g.conn.One(ctx, rtnl.GetFamily(name, &id)); errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w: %s", fault.ErrUnsupported, families[name])
	}
	if err == nil {
		g.families[name] = id
	}
	return id, err
}

// generic returns that of a namespace.
func (r *run) generic(key string) (*generic, error) {
	if g := r.tools[key]; g != nil {
		return g, nil
	}
	if _, err := r.space(key); err != nil {
		return nil, err
	}
	g, err := dialGeneric(r.fd(key))
	if err != nil {
		return nil, err
	}
	if r.tools == nil {
		r.tools = map[string]*generic{}
	}
	r.tools[key] = g
	return g, nil
}
