//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/bench/floor"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// fillRoutes puts routes on eth0 of a sandbox, with the mark by which the
// contender knows its own.
func fillRoutes(path string, n int, contender string) error {
	proto := uint8(unix.RTPROT_STATIC)
	if contender == "osl" {
		proto = rtnl.Protocol
	}
	s, err := floor.Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	var index int
	if index, err = linkIndex(path, "eth0"); err != nil {
		return err
	}
	via := netip.AddrFrom4([4]byte{10, 1, 0, 1})
	for i := range n {
		a := netip.AddrFrom4([4]byte{172, 16 + byte(i>>12), byte(i >> 4), byte(i << 4)})
		s.RouteOf(index, netip.PrefixFrom(a, 28), via, proto)
		if s.Size() > batch {
			if err := s.Flush(); err != nil {
				return err
			}
		}
	}
	return s.Flush()
}

// deleteHostLink deletes a link, and waits for it as the kernel does.
func deleteHostLink(name string) error {
	c, err := floor.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	c.Delete(name)
	return c.Flush()
}

// runsInside checks that a function that a sandbox runs is in its namespace,
// and that the thread of the caller is not, before and after.
func runsInside(s sandbox, path string) error {
	where := func() (uint64, error) {
		var st unix.Stat_t
		err := unix.Stat("/proc/thread-self/ns/net", &st)
		return st.Ino, err
	}
	var at uint64
	var ferr error
	if err := s.Invoke(func() { at, ferr = where() }); err != nil || ferr != nil {
		return errors.Join(err, ferr)
	}
	var want unix.Stat_t
	if err := unix.Stat(path, &want); err != nil {
		return err
	}
	if at != want.Ino {
		return fmt.Errorf("the function ran in %d, not in %d", at, want.Ino)
	}
	if back, err := where(); err != nil || back == want.Ino {
		return fmt.Errorf("the thread did not come back (%v)", err)
	}
	return nil
}

// openDescriptors counts the descriptors and threads of this process.
func openDescriptors() (descriptors, threads int, err error) {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, 0, err
	}
	t, err := os.ReadDir("/proc/self/task")
	return len(d), len(t), err
}
