//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/want"
)

// masqChain is the one chain of osl's table.
const masqChain = "postrouting"

// withNFT calls f with a connection to nftables in the namespace of a descriptor.
func withNFT(fd int, f func(c *nftables.Conn) error) error {
	var c *nftables.Conn
	err := netns.Do(fd, func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	return f(c)
}

// masquerade makes osl's table as it is to be, in one transaction.
func (r *run) masquerade(op plan.Op, a plan.Masquerade) error {
	err := withNFT(r.fd(op.NS), func(c *nftables.Conn) error {
		t := &nftables.Table{Name: a.Table, Family: nftables.TableFamilyINet}
		c.AddTable(t) // so that there is one to delete
		c.DelTable(t)
		if len(a.Set) > 0 {
			c.AddTable(t)
			chain := c.AddChain(&nftables.Chain{Name: masqChain, Table: t, Type: nftables.ChainTypeNAT,
				Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
			for _, m := range a.Set {
				c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: masqExprs(m)})
			}
		}
		return c.Flush()
	})
	if err == nil {
		err = r.masquerades(op.NS, a)
	}
	if err != nil {
		r.undo = append(r.undo, op.Undo)
	}
	return noNFT(err)
}

// masquerades fails where the kernel has not what it was told: it drops a transaction
// that it can not read to its end, and says nothing.
func (r *run) masquerades(ns string, a plan.Masquerade) error {
	list, odd, err := readMasquerade(r.ctx, r.fd(ns), a.Table)
	if err == nil && (odd || !slices.Equal(list, a.Set)) {
		err = fmt.Errorf("the kernel did not keep the table %s as it was told", a.Table)
	}
	return err
}

// noNFT says what it means where the kernel has no nftables, or none with addresses.
func noNFT(err error) error {
	if isNoNFT(err) {
		return fmt.Errorf("%w: this kernel has no nftables that masquerade (nf_tables, nft_masq, nft_chain_nat): %w", fault.ErrUnsupported, err)
	}
	return err
}

func isNoNFT(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)
}

// masqExprs are the parts of the rule of a subnet, as nft writes it: of a length in
// whole bytes it compares these alone.
func masqExprs(m plan.Masq) []expr.Any {
	proto, offset, addr := byte(unix.NFPROTO_IPV4), uint32(12), m.Subnet.Addr().AsSlice()
	if m.Subnet.Addr().Is6() {
		proto, offset = unix.NFPROTO_IPV6, 8
	}
	bits := m.Subnet.Bits()
	whole := bits > 0 && bits%8 == 0
	if whole {
		addr = addr[:bits/8]
	}
	length := uint32(len(addr))
	list := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
	}
	if !whole {
		list = append(list, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: net.CIDRMask(bits, 8*int(length)), Xor: make([]byte, length)})
	}
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, m.Uplink)
	return append(list, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Masq{})
}

// readMasquerade reads osl's table of a network: odd where somebody changed it.
func readMasquerade(ctx context.Context, fd int, table string) (list []plan.Masq, odd bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, context.Cause(ctx)
	}
	// No nftables is none of osl's; who was refused for another reason is told the same
	// once only.
	for range 2 {
		if list, odd, err = readTable(fd, table); !isNoNFT(err) {
			return list, odd, err
		}
	}
	return nil, false, nil
}

// masqueradesOf reads osl's tables of all networks; none for who may not see them.
func masqueradesOf(ctx context.Context, fd int) (list []stand.Masquerade, err error) {
	var names []string
	err = withNFT(fd, func(c *nftables.Conn) error {
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
		for _, t := range tables {
			names = append(names, t.Name)
		}
		return err
	})
	if isNoNFT(err) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	for _, name := range names {
		network, osls := plan.NetworkOfTable(name)
		if !osls || err != nil {
			continue
		}
		var set []plan.Masq
		set, _, err = readMasquerade(ctx, fd, name)
		for _, m := range set {
			list = append(list, stand.Masquerade{Masq: want.Masq(m), Network: network})
		}
	}
	return list, err
}

func readTable(fd int, table string) (list []plan.Masq, odd bool, err error) {
	err = withNFT(fd, func(c *nftables.Conn) error {
		t, err := c.ListTableOfFamily(table, nftables.TableFamilyINet)
		if err != nil || t == nil {
			return err
		}
		chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		chains = slices.DeleteFunc(chains, func(ch *nftables.Chain) bool { return ch.Table.Name != table })
		odd = len(chains) != 1
		for _, ch := range chains {
			odd = odd || !isMasqChain(ch)
			rules, err := c.GetRules(t, ch)
			if err != nil {
				return err
			}
			for _, rule := range rules {
				m, ok := masqOf(rule.Exprs)
				if odd = odd || !ok; ok {
					list = append(list, m)
				}
			}
		}
		return nil
	})
	return list, odd, err
}

// isMasqChain reports whether a chain is one as osl makes it.
func isMasqChain(ch *nftables.Chain) bool {
	return ch.Name == masqChain && ch.Type == nftables.ChainTypeNAT &&
		ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookPostrouting &&
		ch.Priority != nil && *ch.Priority == *nftables.ChainPriorityNATSource &&
		(ch.Policy == nil || *ch.Policy == nftables.ChainPolicyAccept)
}

// masqOf tells what a rule does, if it is just as osl makes one.
func masqOf(exprs []expr.Any) (m plan.Masq, ok bool) {
	n := len(exprs)
	if n != 7 && n != 8 {
		return m, false
	}
	proto, isProto := exprs[1].(*expr.Cmp)
	addr, isAddr := exprs[n-4].(*expr.Cmp)
	name, isName := exprs[n-2].(*expr.Cmp)
	if !isProto || !isAddr || !isName {
		return m, false
	}
	raw := make([]byte, 4)
	if bytes.Equal(proto.Data, []byte{unix.NFPROTO_IPV6}) {
		raw = make([]byte, 16)
	}
	copy(raw, addr.Data)
	ones := 8 * len(addr.Data)
	if bits, masked := exprs[3].(*expr.Bitwise); masked {
		ones = 0
		for _, b := range bits.Mask {
			for ; b&0x80 != 0; b <<= 1 {
				ones++
			}
		}
	}
	ip, _ := netip.AddrFromSlice(raw)
	text, _, _ := strings.Cut(string(name.Data), "\x00")
	m = plan.Masq{Subnet: netip.PrefixFrom(ip, ones), Uplink: text}
	return m, m.Subnet.IsValid() && sameExprs(exprs, masqExprs(m))
}

func sameExprs(a, b []expr.Any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range b {
		x, err := expr.Marshal(unix.NFPROTO_INET, a[i])
		y, err2 := expr.Marshal(unix.NFPROTO_INET, b[i])
		if err != nil || err2 != nil || !bytes.Equal(x, y) {
			return false
		}
	}
	return true
}
