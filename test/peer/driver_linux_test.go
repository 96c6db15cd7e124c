package peer

import "net"

// driver is one of the two packages, reduced to what the behaviours need.
type driver interface {
	// key is that of a sandbox with an id.
	key(id string) string
	create(key string) (sandbox, error)
	// reopen is what a new process does: with what its predecessor had asked for,
	// or with nothing.
	reopen(key string, asked *memory) (sandbox, error)
	adopt(path, key string) (sandbox, error)
	// gc cleans up; false says that there is no such function.
	gc() bool
}

type sandbox interface {
	add(src, prefix string, c conf) error
	ifaces() []iface
	setGateway(net.IP) error
	unsetGateway(v6 bool) error
	gateway(v6 bool) net.IP
	addRoute(*route) error
	removeRoute(*route) error
	routes() []string
	addAlias(name string, a *net.IPNet) error
	removeAlias(name string, a *net.IPNet) error
	addNeighbor(ip net.IP, mac net.HardwareAddr, link string, family int) error
	deleteNeighbor(ip net.IP, mac net.HardwareAddr, link string, family int) error
	invoke(func()) error
	destroy() error
}

type iface interface {
	SrcName() string
	DstName() string
	Address() *net.IPNet
	AddressIPv6() *net.IPNet
	Remove() error
	counters() error
}

// conf is what an interface is to have. The zero value asks for nothing.
type conf struct {
	bridge bool
	master string
	mac    net.HardwareAddr
	v4, v6 *net.IPNet
	local  []*net.IPNet
	routes []*net.IPNet
	exact  bool // the prefix is the whole name
	arp    bool // the setting arp_notify=1
	inside bool // the link is in the sandbox already
	device bool // it is the IPv4 default route, without a gateway
}

// route is a static route through a next hop. The same pointer is the same
// route to a package that compares pointers.
type route struct {
	dst *net.IPNet
	via net.IP
}

// memory is what a caller knows that it asked for.
type memory struct {
	links  []wanted
	gw     net.IP
	routes []*route
}

type wanted struct {
	src, prefix string
	conf
}
