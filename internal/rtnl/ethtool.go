package rtnl

import (
	"maps"
	"slices"
)

// Features are those of a link by the kernel's names, as ethtool netlink tells
// them: what can be changed, what was asked for, what is on, and what no one can
// change.
type Features struct {
	Index                     int
	HW, Wanted, Active, Fixed map[string]bool
	All                       []string // all that the kernel knows, in its order
}

// CanChange reports whether a feature can be turned on and off.
func (f *Features) CanChange(name string) bool { return f.HW[name] && !f.Fixed[name] }

// Numbers of linux/genetlink.h and linux/ethtool_netlink.h.
const (
	genlIDCtrl         = 0x10
	ctrlCmdGetFamily   = 3
	ctrlAttrFamilyID   = 1
	ctrlAttrFamilyName = 2

	ethtoolSpeedGet    = 4         // ETHTOOL_MSG_LINKMODES_GET
	ethtoolSpeed       = 5         // ETHTOOL_A_LINKMODES_SPEED
	speedUnknown       = 1<<32 - 1 // SPEED_UNKNOWN of linux/ethtool.h
	ethtoolFeaturesGet = 11
	ethtoolFeaturesSet = 12
	ethtoolHeader      = 1 // ETHTOOL_A_FEATURES_HEADER
	ethtoolHW          = 2
	ethtoolWanted      = 3
	ethtoolActive      = 4
	ethtoolNoChange    = 5
	ethtoolDevIndex    = 1 // ETHTOOL_A_HEADER_DEV_INDEX
	ethtoolFlags       = 3 // ETHTOOL_A_HEADER_FLAGS
	ethtoolOmitReply   = 2 // ETHTOOL_FLAG_OMIT_REPLY
	bitsetBits         = 3 // ETHTOOL_A_BITSET_BITS
	bitsetBit          = 1 // ETHTOOL_A_BITSET_BITS_BIT
	bitName            = 2 // ETHTOOL_A_BITSET_BIT_NAME
	bitValue           = 3 // ETHTOOL_A_BITSET_BIT_VALUE
	sizeofGenlMsg      = 4
)

// EthtoolFamily is the generic netlink family of ethtool.
const EthtoolFamily = "ethtool"

func genl(cmd uint8) buffer { return append(make(buffer, 0, 128), cmd, 1, 0, 0) }

// GetFamily returns the request that asks generic netlink for the number of a
// family. That is the type of its messages.
func GetFamily(name string, id *uint16) Request {
	b := genl(ctrlCmdGetFamily)
	b.str(ctrlAttrFamilyName, name)
	return Request{Type: genlIDCtrl, Data: b, Reply: func(p []byte) {
		for t, v := range genlAttrs(p) {
			if t == ctrlAttrFamilyID {
				*id = getU16(v)
			}
		}
	}}
}

// GetFeatures returns the request that reads the features of a link into f.
func GetFeatures(family uint16, index int, f *Features) Request {
	b := genl(ethtoolFeaturesGet)
	b.nest(ethtoolHeader, func() { b.u32(ethtoolDevIndex, uint32(index)) })
	return Request{Type: family, Data: b, Reply: func(p []byte) { *f = ParseFeatures(p) }}
}

// AllFeatures returns the request that lists the features of all links.
func AllFeatures(family uint16) Request {
	b := genl(ethtoolFeaturesGet)
	b.nest(ethtoolHeader, func() {})
	return Request{Type: family, Data: b}
}

// SetFeatures returns the request that asks for features to be on or off.
func SetFeatures(family uint16, index int, set map[string]bool) Request {
	b := genl(ethtoolFeaturesSet)
	b.nest(ethtoolHeader, func() {
		b.u32(ethtoolDevIndex, uint32(index))
		b.u32(ethtoolFlags, ethtoolOmitReply)
	})
	b.nest(ethtoolWanted, func() {
		b.nest(bitsetBits, func() {
			for _, name := range slices.Sorted(maps.Keys(set)) {
				b.nest(bitsetBit, func() {
					b.str(bitName, name)
					if set[name] {
						b.bytes(bitValue, nil)
					}
				})
			}
		})
	})
	return Request{Type: family, Data: b}
}

// GetSpeed returns the request that reads the speed of a link, in Mbit/s, where there is one.
func GetSpeed(family uint16, index int, speed *uint32) Request {
	b := genl(ethtoolSpeedGet)
	b.nest(ethtoolHeader, func() { b.u32(ethtoolDevIndex, uint32(index)) })
	return Request{Type: family, Data: b, Reply: func(p []byte) {
		for t, v := range genlAttrs(p) {
			if n := getU32(v); t == ethtoolSpeed && n != speedUnknown {
				*speed = n
			}
		}
	}}
}

func genlAttrs(p []byte) func(func(uint16, []byte) bool) {
	if len(p) < sizeofGenlMsg {
		return attrs(nil)
	}
	return attrs(p[sizeofGenlMsg:])
}

// ParseFeatures decodes the answer to GetFeatures.
func ParseFeatures(p []byte) (f Features) {
	f.HW, f.Wanted, f.Active, f.Fixed = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for t, v := range genlAttrs(p) {
		switch t {
		case ethtoolHeader:
			for t, v := range attrs(v) {
				if t == ethtoolDevIndex {
					f.Index = int(getU32(v))
				}
			}
		case ethtoolHW: // of all with a value; the others are lists
			for name, is := range bits(v) {
				f.All = append(f.All, name)
				if is {
					f.HW[name] = true
				}
			}
		case ethtoolWanted, ethtoolActive, ethtoolNoChange:
			list := map[uint16]map[string]bool{ethtoolWanted: f.Wanted, ethtoolActive: f.Active, ethtoolNoChange: f.Fixed}[t]
			for name := range bits(v) {
				list[name] = true
			}
		}
	}
	return f
}

// bits yields the bits of a set by their names.
func bits(set []byte) func(func(string, bool) bool) {
	return func(yield func(string, bool) bool) {
		for t, list := range attrs(set) {
			if t != bitsetBits {
				continue
			}
			for _, bit := range attrs(list) {
				name, value := "", false
				for t, v := range attrs(bit) {
					switch t {
					case bitName:
						name = getStr(v)
					case bitValue:
						value = true
					}
				}
				if name != "" && !yield(name, value) { // a bit that this kernel has no name for
					return
				}
			}
		}
	}
}
