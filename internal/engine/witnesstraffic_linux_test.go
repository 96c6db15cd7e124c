package engine_test

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
)

// offloadsIn returns what tells of a link's offloads by the older interface of
// ethtool, in the namespace of a descriptor.
func offloadsIn(t testing.TB, fd int) (of func(dev string) string, done func()) {
	t.Helper()
	s := -1
	if err := netns.Do(fd, func() (err error) {
		s, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return func(dev string) (list string) {
		for _, cmd := range []uint32{0x14, 0x16, 0x18, 0x1e, 0x23, 0x2b} { // ETHTOOL_GRXCSUM, GTXCSUM, GSG, GTSO, GGSO, GGRO
			value := struct{ cmd, data uint32 }{cmd, 0}
			ifr := struct {
				name [unix.IFNAMSIZ]byte
				data unsafe.Pointer
				_    [16]byte
			}{data: unsafe.Pointer(&value)}
			copy(ifr.name[:], dev)
			_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
			list += fmt.Sprint(value.data)
		}
		return list
	}, func() { unix.Close(s) }
}

// nftIn returns the tables and rules of nftables in the namespace of a descriptor.
func nftIn(t testing.TB, fd int) (list []string) {
	t.Helper()
	var conn *netlink.Conn
	if err := netns.Do(fd, func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, typ := range []uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETRULE} {
		answers, err := conn.Execute(netlink.Message{Data: make([]byte, 4),
			Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | typ), Flags: netlink.Request | netlink.Dump}})
		if err != nil {
			return list // no nftables
		}
		for _, m := range answers {
			a := attributes(t, m.Data[4:])
			if typ == unix.NFT_MSG_GETTABLE {
				list = append(list, fmt.Sprintf("nft table %s of %d", text(a[unix.NFTA_TABLE_NAME]), m.Data[0]))
			} else {
				list = append(list, fmt.Sprintf("nft rule of %s %s: %x", text(a[unix.NFTA_RULE_TABLE]), text(a[unix.NFTA_RULE_CHAIN]), a[unix.NFTA_RULE_EXPRESSIONS]))
			}
		}
	}
	return list
}
