// Package types holds the plain data types of osl's seed contract.
package types

import (
	"fmt"
	"net"
)

// The route types of [StaticRoute.RouteType].
const (
	// NEXTHOP is a route through a gateway, [StaticRoute.NextHop].
	NEXTHOP = iota
	// CONNECTED is a route to a network that is on the link itself.
	CONNECTED
)

// StaticRoute is a route of a sandbox beyond its gateways and the networks of
// its interfaces.
type StaticRoute struct {
	// Destination is the network that the route leads to.
	Destination *net.IPNet
	// RouteType is NEXTHOP or CONNECTED.
	RouteType int
	// NextHop is the gateway of a NEXTHOP route. For a CONNECTED route it is
	// unused and may be nil: the interface is the one by which the kernel
	// reaches Destination already.
	NextHop net.IP
}

// GetCopy returns a copy of r that shares no memory with it.
func (r *StaticRoute) GetCopy() *StaticRoute {
	if r == nil {
		return nil
	}
	c := &StaticRoute{RouteType: r.RouteType, NextHop: append(net.IP(nil), r.NextHop...)}
	if r.Destination != nil {
		c.Destination = &net.IPNet{
			IP:   append(net.IP(nil), r.Destination.IP...),
			Mask: append(net.IPMask(nil), r.Destination.Mask...),
		}
	}
	return c
}

// InterfaceStatistics are the kernel's counters of one interface since it was
// made. They are not reset by a move between sandboxes.
type InterfaceStatistics struct {
	RxBytes   uint64
	RxPackets uint64
	RxErrors  uint64
	RxDropped uint64
	TxBytes   uint64
	TxPackets uint64
	TxErrors  uint64
	TxDropped uint64
}

// String returns the counters, a line for each direction, after an empty one.
func (s *InterfaceStatistics) String() string {
	return fmt.Sprintf("\nRxBytes: %d, RxPackets: %d, RxErrors: %d, RxDropped: %d\nTxBytes: %d, TxPackets: %d, TxErrors: %d, TxDropped: %d",
		s.RxBytes, s.RxPackets, s.RxErrors, s.RxDropped, s.TxBytes, s.TxPackets, s.TxErrors, s.TxDropped)
}
