//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"golang.org/x/sys/unix"
)

// holdFor bounds the waiting for another call about the same attachment.
const holdFor = 10 * time.Second

// hold takes the name of an attachment, which a call and the IPAM plugin that it runs
// hold: the DEL after an ADD that was killed must not come before what is left of that
// has its address. It is the name of a socket, so the kernel lets go of it with the
// last process that has it. Who can not have it in time goes on without (nil): another
// user may have taken it.
func hold(args *skel.CmdArgs) *os.File {
	name := fmt.Sprintf("@osl-cni %s %s", args.IfName, args.ContainerID)
	name = name[:min(len(name), 100)] // a socket's is no longer
	for end := time.Now().Add(holdFor); time.Now().Before(end); time.Sleep(time.Millisecond) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			break
		}
		if err = unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err == nil {
			return os.NewFile(uintptr(fd), name)
		}
		unix.Close(fd)
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil
}
