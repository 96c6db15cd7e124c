//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// The table that masquerades for all attachments. osl's tables of networks begin with
// osl_. A packet is looked up by its source in the map of its family, which has each
// address of a container, noted with whose it is; that says the chain of its subnet,
// where what leaves the subnet is masqueraded. So a thousand containers cost a packet
// what one does, and an attachment is an element to add and to take away. The table
// stays, as the bridge does.
var masqTable = &nftables.Table{Name: "osl-cni", Family: nftables.TableFamilyINet}

// masqFamily is what differs between IPv4 and IPv6.
type masqFamily struct {
	proto         byte
	from, to, len uint32 // where a packet has its addresses, and their length
	key           nftables.SetDatatype
	containers    string       // the name of the map
	multicast     netip.Prefix // which is never masqueraded
}

var masqFamilies = [...]masqFamily{
	{unix.NFPROTO_IPV4, 12, 16, 4, nftables.TypeIPAddr, "containers4", netip.MustParsePrefix("224.0.0.0/4")},
	{unix.NFPROTO_IPV6, 8, 24, 16, nftables.TypeIP6Addr, "containers6", netip.MustParsePrefix("ff00::/8")},
}

func masqFamilyOf(ip netip.Addr) *masqFamily {
	if ip.Is4() {
		return &masqFamilies[0]
	}
	return &masqFamilies[1]
}

func (f *masqFamily) set() *nftables.Set {
	return &nftables.Set{Table: masqTable, Name: f.containers, IsMap: true, KeyType: f.key, DataType: nftables.TypeVerdict}
}

// toward matches packets that go to a subnet, or with other those that do not.
func (f *masqFamily) toward(p netip.Prefix, op expr.CmpOp) []expr.Any {
	return append(f.is(),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: f.to, Len: f.len},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.len, Mask: net.CIDRMask(p.Bits(), 8*int(f.len)), Xor: make([]byte, f.len)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Addr().AsSlice()})
}

// is matches packets of the family.
func (f *masqFamily) is() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}}}
}

// masqChain is the name of the chain of a subnet.
func masqChain(p netip.Prefix) string {
	return "from_" + strings.NewReplacer(":", ".", "/", "-").Replace(p.String())
}

// element is a container's address in its map.
func element(p netip.Prefix, owner string) []nftables.SetElement {
	return []nftables.SetElement{{Key: p.Addr().AsSlice(), Comment: owner, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: masqChain(p.Masked())}}}
}

// validMasq says what is wrong with the key ipMasqBackend. Both are of the same effect
// on packets, and osl-cni does it by nftables.
func (c *conf) validMasq() error {
	if b := c.IPMasqBackend; b != nil && *b != "iptables" && *b != "nftables" {
		return invalid("unknown ipmasq backend %q: it is iptables or nftables", *b)
	}
	return nil
}

// masquerade makes what the container sends out of its subnets have the host's address.
func (a *attachment) masquerade(lease *current.Result) error {
	if !a.c.masquerades() {
		return nil
	}
	var list []netip.Prefix
	for _, ip := range lease.IPs {
		p, err := prefixOf(ip.Address)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	err := a.c.setMasq(list, a.c.owner(a.args))
	if lacksNFT(err) {
		err = fmt.Errorf("%w: ipMasq: this kernel has no nftables that masquerade (nf_tables, nft_masq, nft_chain_nat): %w", osl.ErrUnsupported, err)
	}
	return err
}

// masquerades reports whether an attachment's addresses are to be masqueraded.
func (c *conf) masquerades() bool { return c.IPMasq && modes[c.kind].masq }

// setMasq notes the addresses of owner, in one transaction of the kernel's. An address
// that is noted for another is owner's from then on: who had it is gone.
func (c *conf) setMasq(list []netip.Prefix, owner string) error {
	return withNFT(func(nft *nftables.Conn) error {
		// There is a table mostly, and no such element. Adding one that there is does
		// nothing, so that there is one to delete in each case.
		add := func(fresh, other bool) error {
			if fresh {
				addMasqTable(nft)
			}
			for _, p := range list {
				if fresh {
					addMasqChain(nft, p.Masked())
				}
				set, e := masqFamilyOf(p.Addr()).set(), element(p, owner)
				var errs [3]error
				if !other {
					errs[0] = nft.SetAddElements(set, e)
				}
				errs[1] = nft.SetDeleteElements(set, []nftables.SetElement{{Key: e[0].Key}})
				errs[2] = nft.SetAddElements(set, e)
				if err := errors.Join(errs[:]...); err != nil {
					return err
				}
			}
			return nft.Flush()
		}
		err := add(false, false)
		if errors.Is(err, unix.ENOENT) {
			err = add(true, false)
		}
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) { // of another subnet
			err = add(true, true)
		}
		return err
	})
}

// addMasqTable makes the table what it is to be, whatever there is.
func addMasqTable(nft *nftables.Conn) {
	nft.AddTable(masqTable)
	chain := nft.AddChain(&nftables.Chain{Name: "postrouting", Table: masqTable, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	nft.FlushChain(chain)
	for i := range masqFamilies {
		f := &masqFamilies[i]
		set := f.set()
		_ = nft.AddSet(set, nil) // no elements that could be wrong
		nft.AddRule(&nftables.Rule{Table: masqTable, Chain: chain, Exprs: append(f.toward(f.multicast, expr.CmpOpEq), &expr.Verdict{Kind: expr.VerdictReturn})})
		nft.AddRule(&nftables.Rule{Table: masqTable, Chain: chain, Exprs: append(f.is(),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: f.from, Len: f.len},
			&expr.Lookup{SourceRegister: 1, IsDestRegSet: true, SetName: set.Name, SetID: set.ID})})
	}
}

// addMasqChain makes the chain of a subnet.
func addMasqChain(nft *nftables.Conn, subnet netip.Prefix) {
	chain := nft.AddChain(&nftables.Chain{Name: masqChain(subnet), Table: masqTable})
	nft.FlushChain(chain)
	nft.AddRule(&nftables.Rule{Table: masqTable, Chain: chain, Exprs: append(masqFamilyOf(subnet.Addr()).toward(subnet, expr.CmpOpNeq), &expr.Masq{})})
}

// withNFT calls f with a connection to nftables of the host.
func withNFT(f func(nft *nftables.Conn) error) error {
	nft, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer nft.CloseLasting()
	return f(nft)
}

// listMasq returns the elements of each map that are of those owners.
// Without nftables there are none.
func listMasq(of func(owner string) bool) (list [len(masqFamilies)][]rtnl.SetElement, err error) {
	c, err := netlink.DialNetfilter()
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return list, nil
	} else if err != nil {
		return list, err
	}
	defer c.Close()
	for i := range masqFamilies {
		list[i], err = c.SetElements(context.Background(), unix.NFPROTO_INET, masqTable.Name, masqFamilies[i].containers)
		if err != nil && !lacksNFT(err) {
			return list, fmt.Errorf("list what ipMasq made: %w", err)
		}
		list[i] = slices.DeleteFunc(list[i], func(e rtnl.SetElement) bool { return !of(e.Comment) })
	}
	return list, nil
}

// lacksNFT reports whether an error says that a table, or nftables, is not there.
func lacksNFT(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// unmasq takes away what is masqueraded for those owners that stale tells.
func unmasq(stale func(owner string) bool) (err error) {
	for range 10 { // another call may take the same away meanwhile, and then nothing of it is done
		if err = tryUnmasq(stale); !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("take away what ipMasq made: %w", err)
	}
	return err
}

func tryUnmasq(stale func(owner string) bool) error {
	list, err := listMasq(stale)
	if err != nil || len(slices.Concat(list[:]...)) == 0 {
		return err
	}
	return withNFT(func(nft *nftables.Conn) error {
		chains := map[string]bool{} // of their subnets
		take := func() (err error) {
			for i, part := range list {
				for _, e := range part {
					err = errors.Join(err, nft.SetDeleteElements(masqFamilies[i].set(), []nftables.SetElement{{Key: e.Key}}))
					chains[e.Chain] = true
				}
			}
			return err
		}
		if err := take(); err != nil {
			return err
		}
		// In one transaction, so that who is killed leaves no chain that none knows of.
		for name := range chains {
			nft.DelChain(&nftables.Chain{Name: name, Table: masqTable})
		}
		err := nft.Flush()
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		// The kernel keeps a chain that another container needs.
		if err := errors.Join(take(), nft.Flush()); err != nil {
			return err
		}
		for name := range chains {
			nft.DelChain(&nftables.Chain{Name: name, Table: masqTable})
			if err := nft.Flush(); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	})
}

// delMasq takes away what is masqueraded for an attachment.
func (c *conf) delMasq(args *skel.CmdArgs) error {
	if !c.masquerades() {
		return nil
	}
	return unmasq(func(owner string) bool { return owner == c.owner(args) })
}

// checkMasq looks for the addresses of a result among what is masqueraded.
func (a *attachment) checkMasq(prev *current.Result) error {
	if !a.c.masquerades() {
		return nil
	}
	list, err := listMasq(func(owner string) bool { return owner == a.c.owner(a.args) })
	for _, ip := range prev.IPs {
		p, ok := addrOf(ip.Address.IP)
		is := func(e rtnl.SetElement) bool { return bytes.Equal(e.Key, p.AsSlice()) }
		if err == nil && ok && !slices.ContainsFunc(slices.Concat(list[:]...), is) {
			err = differs("what %v sends is not masqueraded", p)
		}
	}
	return err
}
