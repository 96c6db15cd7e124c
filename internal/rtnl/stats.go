package rtnl

import (
	"encoding/binary"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Stats are a link's counters: struct rtnl_link_stats64 of linux/if_link.h.
type Stats struct {
	RxPackets, TxPackets, RxBytes, TxBytes   uint64
	RxErrors, TxErrors, RxDropped, TxDropped uint64
}

const (
	statsLink64   = 1  // IFLA_STATS_LINK_64 of linux/if_link.h
	sizeofStatMsg = 12 // struct if_stats_msg
)

// GetStats returns the request that reads a link's counters into s. It is much
// cheaper for the kernel than to describe the whole link.
func GetStats(index int, s *Stats) Request {
	b := make(buffer, 4, sizeofStatMsg)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, 1<<(statsLink64-1))
	return Request{Type: linux.RTM_GETSTATS, Data: b, Reply: func(p []byte) { *s = ParseStats(p) }}
}

// ParseStats decodes the payload of an RTM_NEWSTATS.
func ParseStats(p []byte) (s Stats) {
	if len(p) < sizeofStatMsg {
		return s
	}
	for t, v := range attrs(p[sizeofStatMsg:]) {
		if t != statsLink64 || len(v) < 64 {
			continue
		}
		for i, f := range []*uint64{&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes,
			&s.RxErrors, &s.TxErrors, &s.RxDropped, &s.TxDropped} {
			*f = getU64(v[8*i:])
		}
	}
	return s
}
