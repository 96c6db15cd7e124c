package engine_test

import (
	"fmt"
	"testing"
	"unsafe"

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
