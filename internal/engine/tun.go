//go:build linux

package engine

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/plan"
)

// makeTun makes a persistent tun or tap with the chosen index in the calling
// thread's namespace.
func makeTun(a plan.NewTun) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETIFINDEX, a.Index); err != nil {
		return os.NewSyscallError("ioctl TUNSETIFINDEX", err)
	}
	ifr, err := unix.NewIfreq(a.Name)
	if err != nil {
		return err
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if a.Kind == "tap" {
		flags = unix.IFF_TAP | unix.IFF_NO_PI
	}
	if a.Data.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	if a.Data.VNetHdr {
		flags |= unix.IFF_VNET_HDR
	}
	ifr.SetUint16(flags | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		if err == unix.EBUSY {
			err = unix.EEXIST
		}
		return os.NewSyscallError("ioctl TUNSETIFF", err)
	}
	for _, x := range []struct {
		request   uint
		id, named string
	}{{unix.TUNSETOWNER, a.Data.Owner, "TUNSETOWNER"}, {unix.TUNSETGROUP, a.Data.OwnerGroup, "TUNSETGROUP"}} {
		if x.id == "" {
			continue
		}
		id, err := strconv.Atoi(x.id)
		if err == nil {
			err = unix.IoctlSetInt(fd, x.request, id)
		}
		if err != nil {
			return os.NewSyscallError("ioctl "+x.named, err)
		}
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		_ = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0) // what failed may have happened all the same
		return os.NewSyscallError("ioctl TUNSETPERSIST", err)
	}
	return nil
}
