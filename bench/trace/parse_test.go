//go:build linux

package main

import (
	"strings"
	"testing"
)

// A step's calls are those between its marks, cut in two or not, each with the median of its
// times, less those of the marks.
func TestCallsOfAStep(t *testing.T) {
	strace := `7 write(-1, "\x00", 1000) = -1 EBADF (Bad file descriptor)
7 setns(5<\x6e\x65\x74>, CLONE_NEWNET) = 0
8 openat(AT_FDCWD</tmp>, "\x2f\x72\x75\x6e", O_RDONLY <unfinished ...>
7 futex(0x123456789, FUTEX_WAKE_PRIVATE, 1) = 1
8 <... openat resumed>) = 9
7 sendmsg(8<socket:[12]>, {msg_name=NULL, msg_iov=[{iov_base="\x20\x00\x00\x00\x10\x00\x05\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", iov_len=32}]}, 0) = 32
7 write(-1, "\x00", 1001) = -1 EBADF (Bad file descriptor)
7 close(9) = 0
`
	perf := strings.Repeat(`     1.000 ( 0.004 ms): exe/7 write(fd: -1, buf: 0x1, count: 1000) = -1 EBADF (Bad file descriptor)
     1.100 ( 0.006 ms): exe/7 setns(fd: 5, flags: 0x40000000) = 0
     1.200 (         ): exe/8 openat(dfd: CWD, filename: 0x1) ...
     1.250 ( 0.900 ms): exe/7 futex(uaddr: 0x1) = 0
     1.200 ( 0.054 ms): exe/8  ... [continued]: openat()) = 9
     1.300 ( 0.024 ms): exe/7 sendmsg(fd: 8, msg: 0x1) = 32
     1.400 ( 0.004 ms): exe/7 write(fd: -1, buf: 0x1, count: 1001) = -1 EBADF (Bad file descriptor)
`, 5)
	all := fromStrace(strace, step{})
	if len(all) != 1 {
		t.Fatalf("%d times", len(all))
	}
	all[0] = withTimes([][]call{all[0][:1], all[0]}, fromPerf(perf, step{}))
	want := []call{{"setns", "setns(5<net>, CLONE_NEWNET)", 2}, {"openat", `openat("/run", O_RDONLY)`, 50}, {"sendmsg", "sendmsg(8, NEWLINK)", 20}}
	for i, c := range all[0] {
		if i >= len(want) || c.text != want[i].text || c.µs < want[i].µs-0.01 || c.µs > want[i].µs+0.01 {
			t.Errorf("%+v", c)
		}
	}
	if one := fromStrace(strace, step{alone: true}); len(one) != 1 || len(one[0]) != 2 {
		t.Errorf("of its thread alone: %v", one)
	}
	if other := fromStrace(strace, step{number: 1}); len(other) != 0 {
		t.Errorf("of another step: %v", other)
	}
}
