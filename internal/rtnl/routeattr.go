package rtnl

import (
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// routeAttr is an attribute of a route beside its destination: how it is written,
// and read. They go by value, so that many routes take no memory of their own.
type routeAttr struct {
	typ   uint16
	put   func(b buffer, r Route) buffer // nothing where the route says nothing
	parse func(r Route, v []byte) Route
}

var routeAttrs = [...]routeAttr{
	{linux.RTA_GATEWAY,
		func(b buffer, r Route) buffer { return b.addr(linux.RTA_GATEWAY, r.Via) },
		func(r Route, v []byte) Route { r.Via, _ = netip.AddrFromSlice(v); return r }},
	{linux.RTA_OIF,
		func(b buffer, r Route) buffer { return b.number(linux.RTA_OIF, uint32(r.Index)) },
		func(r Route, v []byte) Route { r.Index = int(getU32(v)); return r }},
	{linux.RTA_PRIORITY,
		func(b buffer, r Route) buffer { return b.number(linux.RTA_PRIORITY, r.Metric) },
		func(r Route, v []byte) Route { r.Metric = getU32(v); return r }},
	{linux.RTA_PREFSRC,
		func(b buffer, r Route) buffer { return b.addr(linux.RTA_PREFSRC, r.Src) },
		func(r Route, v []byte) Route { r.Src, _ = netip.AddrFromSlice(v); return r }},
}

// addr appends an address, if it is one.
func (b buffer) addr(t uint16, a netip.Addr) buffer {
	if a.IsValid() {
		b.ip(t, a)
	}
	return b
}

// number appends a number, if it is not 0.
func (b buffer) number(t uint16, n uint32) buffer {
	if n != 0 {
		b.u32(t, n)
	}
	return b
}
