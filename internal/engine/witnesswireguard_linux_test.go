package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
)

// wireguardIn returns what wireguard links are in the namespace of a descriptor. Of a secret
// it says a hash: what a test prints is kept by others.
func wireguardIn(t testing.TB, fd int, names map[uint32]string) (list []string) {
	t.Helper()
	var conn *netlink.Conn
	if err := netns.Do(fd, func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_GENERIC, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(family uint16, flags netlink.HeaderFlags, cmd byte, attr uint16, value []byte) []netlink.Message {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: attr, Data: value}})
		if err != nil {
			t.Fatal(err)
		}
		answers, err := conn.Execute(netlink.Message{Data: append([]byte{cmd, 1, 0, 0}, b...), Header: netlink.Header{Type: netlink.HeaderType(family), Flags: netlink.Request | flags}})
		if err != nil && !errors.Is(err, unix.ENODEV) {
			t.Fatal(err)
		}
		return answers
	}
	family := ask(unix.GENL_ID_CTRL, 0, unix.CTRL_CMD_GETFAMILY, unix.CTRL_ATTR_FAMILY_NAME, []byte("wireguard\x00"))
	id := binary.NativeEndian.Uint16(attributes(t, family[0].Data[4:])[unix.CTRL_ATTR_FAMILY_ID])
	hash := func(key []byte) string {
		if len(bytes.Trim(key, "\x00")) == 0 {
			return "none"
		}
		sum := sha256.Sum256(key)
		return hex.EncodeToString(sum[:8])
	}
	for index, name := range names {
		answers := ask(id, netlink.Dump, 0, 1, binary.NativeEndian.AppendUint32(nil, index))
		if len(answers) == 0 {
			list = append(list, fmt.Sprintf("wireguard %s is not told", name))
		}
		for _, m := range answers {
			a := attributes(t, m.Data[4:])
			list = append(list, fmt.Sprintf("wireguard %s secret %s public %x port %x mark %x", name, hash(a[3]), a[4], a[6], a[7]))
			for _, p := range attributesIn(t, a[8]) {
				a := attributes(t, p)
				var ips []string
				for _, ip := range attributesIn(t, a[9]) {
					ips = append(ips, fmt.Sprintf("%x", ip))
				}
				slices.Sort(ips)
				list = append(list, fmt.Sprintf("wireguard %s peer %x secret %s at %x alive %x for %s", name, a[1], hash(a[2]), a[4], a[5], ips))
			}
		}
	}
	return list
}
