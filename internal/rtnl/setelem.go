package rtnl

import "github.com/seed59451c2b/osl/internal/linux"

// SetElement is an element of a set or a map of nftables.
type SetElement struct {
	Key     []byte
	Chain   string // where a map of verdicts leads to
	Comment string // as nft keeps one
}

// AllSetElements asks for the elements of a set.
func AllSetElements(family uint8, table, set string) Request {
	b := buffer{family, 0, 0, 0} // struct nfgenmsg of linux/netfilter/nfnetlink.h
	b.str(linux.NFTA_SET_ELEM_LIST_TABLE, table)
	b.str(linux.NFTA_SET_ELEM_LIST_SET, set)
	return Request{Type: linux.NFNL_SUBSYS_NFTABLES<<8 | linux.NFT_MSG_GETSETELEM, Data: b}
}

// ParseSetElements decodes the elements of a message.
func ParseSetElements(p []byte) (list []SetElement) {
	if len(p) < 4 {
		return nil
	}
	for t, v := range attrs(p[4:]) {
		if t != linux.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for _, v := range attrs(v) {
			list = append(list, parseSetElement(v))
		}
	}
	return list
}

func parseSetElement(b []byte) (e SetElement) {
	for t, v := range attrs(b) {
		switch t {
		case linux.NFTA_SET_ELEM_KEY:
			for t, v := range attrs(v) {
				if t == linux.NFTA_DATA_VALUE {
					e.Key = append([]byte(nil), v...)
				}
			}
		case linux.NFTA_SET_ELEM_DATA:
			for t, v := range attrs(v) {
				if t != linux.NFTA_DATA_VERDICT {
					continue
				}
				for t, v := range attrs(v) {
					if t == linux.NFTA_VERDICT_CHAIN {
						e.Chain = getStr(v)
					}
				}
			}
		case linux.NFTA_SET_ELEM_USERDATA: // of libnftnl: a type, a length, and the value
			for len(v) >= 2 && len(v) >= 2+int(v[1]) {
				if v[0] == 0 {
					e.Comment = getStr(v[2 : 2+int(v[1])])
				}
				v = v[2+int(v[1]):]
			}
		}
	}
	return e
}
