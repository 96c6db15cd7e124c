package rtnl

import "github.com/seed59451c2b/osl/internal/linux"

const ( // linux/net_namespace.h
	netnsaNSID = 1
	netnsaFD   = 3
)

// GetNSID returns the request for the number that a namespace, of which fd is a descriptor,
// has in that of the socket; -1 where it has none there.
func GetNSID(fd int, id *int32) Request {
	b := make(buffer, 4) // struct rtgenmsg
	b.u32(netnsaFD, uint32(fd))
	return Request{Type: linux.RTM_GETNSID, Data: b, Reply: func(p []byte) {
		for t, v := range attrs(p[min(4, len(p)):]) {
			if t == netnsaNSID {
				*id = int32(getU32(v))
			}
		}
	}}
}
