package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/shell"
)

// Masq is a subnet whose packets leave by an uplink with the address of that.
type Masq struct {
	Subnet netip.Prefix
	Uplink string
}

// Entry tells it from others in an error.
func (m Masq) Entry() string { return m.Subnet.String() + " " + m.Uplink }

// Masquerade makes a table of nftables that does so for these subnets and nothing
// else, in the place of the one that is there; without any, it takes that away. All of
// it is one transaction of the kernel's.
type Masquerade struct {
	Table string
	Set   []Masq
}

// tablePrefix begins the names of osl's tables.
const tablePrefix = "osl_"

// TableOf returns the name of a network's table, one that nft takes: another for each
// network.
func TableOf(network string) string {
	var b strings.Builder
	b.WriteString(tablePrefix)
	for _, c := range []byte(network) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// NetworkOfTable returns the network of a table that TableOf names; ok is false for others.
func NetworkOfTable(table string) (network string, ok bool) {
	name, ok := strings.CutPrefix(table, tablePrefix)
	network, err := url.PathUnescape(strings.ReplaceAll(name, "_", "%"))
	return network, ok && err == nil && TableOf(network) == table
}

// Command returns the commands of nft that do the same.
func (a Masquerade) Command(string) string {
	lines := []string{"nft add table inet " + a.Table, "nft delete table inet " + a.Table}
	if len(a.Set) == 0 {
		return lines[1]
	}
	lines = append(lines, lines[0], "nft "+shell.Quote("add chain inet "+a.Table+" postrouting { type nat hook postrouting priority srcnat; }"))
	for _, m := range a.Set {
		family := map[bool]string{true: "ip", false: "ip6"}[m.Subnet.Addr().Is4()]
		lines = append(lines, "nft "+shell.Quote(fmt.Sprintf("add rule inet %s postrouting %s saddr %s oifname %q masquerade", a.Table, family, m.Subnet, m.Uplink)))
	}
	return strings.Join(lines, "\n")
}

// masquerade plans what leaves the host with its own address.
func (b *builder) masquerade(w *Sandbox, k *known, want []Sandbox) error {
	if w.Key != HostNS || w.Network == "" {
		return nil
	}
	ends := map[string]bool{} // links of the host that there will be
	for i := range k.Links {
		l := &k.Links[i]
		if !b.gone[l.Index] && !b.farEnds[b.pairOf(HostNS, l)] {
			ends[orElse(b.called[place{HostNS, l.Index}], l.Name)] = true
		}
	}
	for _, name := range k.Hidden {
		ends[name] = true
	}
	taken := map[string]string{} // those that go into a sandbox
	for i := range want {
		for j := range want[i].Ifaces {
			f := &want[i].Ifaces[j]
			if f.From != nil && want[i].Key != HostNS {
				taken[f.From.Link.Name] = want[i].Key
				continue
			}
			ends[f.Name] = ends[f.Name] || want[i].Key == HostNS
			if f.Peer != nil && f.Peer.Key == HostNS {
				ends[f.Peer.Name] = true
			}
		}
	}
	for _, m := range w.Masq {
		if into := taken[m.Uplink]; into != "" {
			return &Problem{Key: w.Key, Kind: Invalid, Field: "masquerade", Entry: m.Entry(), Within: "uplink",
				Text: fmt.Sprintf("the uplink %q of %v is taken into %s", m.Uplink, m.Subnet, into)}
		}
		if !ends[m.Uplink] {
			return &Problem{Key: w.Key, Kind: NotFound, Field: "masquerade", Entry: m.Entry(), Within: "uplink",
				Text: fmt.Sprintf("the host has no link %q that could be the uplink of %v%s", m.Uplink, m.Subnet, near.Hint(m.Uplink, slices.Collect(maps.Keys(ends))))}
		}
	}
	if slices.Equal(w.Masq, k.Masq) && !k.MasqOdd {
		return nil
	}
	op := Op{NS: w.Key, Do: Masquerade{TableOf(w.Network), w.Masq}, Undo: []Op{{NS: w.Key, Do: Masquerade{TableOf(w.Network), k.Masq}}}}
	b.decide = append(b.decide, op)
	return nil
}
