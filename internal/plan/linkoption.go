package plan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// AddrGenModes are the ways in which a link gets its IPv6 link-local address, by their
// numbers, as the ip command calls them.
var AddrGenModes = []string{"eui64", "none", "stable_secret", "random"}

// Sizes are those settings of which one is for all packets, and one for those of IPv4.
var Sizes = []struct{ All, IPv4 int }{{rtnl.LinkGSOMaxSize, rtnl.LinkGSOIPv4MaxSize}, {rtnl.LinkGROMaxSize, rtnl.LinkGROIPv4MaxSize}}

// legacySize is GSO_LEGACY_MAX_SIZE, and GRO_LEGACY_MAX_SIZE, of linux/netdevice.h.
const legacySize = 65536

// ImpliedSize is the size for IPv4 that a new link has by that for all. The kernel sets both
// where it sets the latter, up to this one, and leaves the other where that is larger.
func ImpliedSize(all uint32) uint32 { return min(all, legacySize) }

// linkLacks is what a link lacks of settings, and what it has instead. Where the size for all
// packets changes, so does that for IPv4.
func linkLacks(want rtnl.Options, have *rtnl.Options) (to, from rtnl.Options) {
	to, from = lacking(rtnl.LinkOptions, want, have)
	for _, x := range Sizes {
		all, changes := to.Get(x.All)
		was, known := have.Get(x.IPv4)
		if !changes || !known {
			continue
		}
		size, said := want.Get(x.IPv4)
		if !said {
			size = ImpliedSize(all)
		}
		if size != all { // else the kernel sees to it
			to.Set(x.IPv4, size)
		}
		from.Set(x.IPv4, was)
	}
	return to, from
}

// options plans what an existing link lacks of its wanted settings, and notes in the tag
// of one that osl did not make what it had before.
func (b *builder) options(w *Sandbox, f *Iface, l *rtnl.Link, tag *Tag) (to, from rtnl.Options) {
	to, from = linkLacks(f.Options, &l.Options)
	if tag.Origin == Host || tag.Origin == Kept {
		for at := range rtnl.LinkOptions {
			_, noted := tag.Was.Get(at)
			if was, changes := from.Get(at); changes && !noted {
				tag.Was.Set(at, was)
			}
		}
	}
	return to, from
}

// optionsKnown refuses settings that the kernel does not tell of a link.
func (b *builder) optionsKnown(w *Sandbox, f *Iface, l *rtnl.Link) error {
	for at, x := range rtnl.LinkOptions {
		_, wanted := f.Options.Get(at)
		if _, known := l.Options.Get(at); wanted && !known && !(at == rtnl.LinkAddrGenMode && revived(f, l)) {
			if at == rtnl.LinkAddrGenMode && l.MTU < MinIPv6 {
				return &Problem{Key: w.Key, Dev: f.device(), Kind: Invalid, Field: x.Name,
					Text: fmt.Sprintf("the link has no IPv6, and so no %s, while its MTU is %d: write an mtu of %d or more", x.Name, l.MTU, MinIPv6)}
			}
			return &Problem{Key: w.Key, Dev: f.device(), Kind: Unsupported, Field: x.Name,
				Text: fmt.Sprintf("the kernel has no setting %q of this link", x.Name)}
		}
	}
	return nil
}

// optionsTag writes settings into a tag.
func optionsTag(o *rtnl.Options) string {
	var parts []string
	for at := range rtnl.LinkOptions {
		if v, ok := o.Get(at); ok {
			parts = append(parts, fmt.Sprintf("%d:%d", at, v))
		}
	}
	return strings.Join(parts, ",")
}

func parseOptionsTag(s string) (o rtnl.Options, err error) {
	for _, part := range strings.Split(s, ",") {
		where, value, _ := strings.Cut(part, ":")
		at, err := strconv.Atoi(where)
		v, verr := strconv.ParseUint(value, 10, 32)
		if err != nil || verr != nil || at < 0 || at >= len(rtnl.LinkOptions) {
			return o, errRecord
		}
		o.Set(at, uint32(v))
	}
	return o, nil
}
