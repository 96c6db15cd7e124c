//go:build linux

package netns

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// HasSockets reports whether the kernel counts TCP or UDP sockets in the calling
// thread's network namespace, of whatever process.
func HasSockets() bool {
	for _, name := range [...]string{"sockstat", "sockstat6"} {
		if counts(readAll("/proc/thread-self/net/" + name)) {
			return true
		}
	}
	return false
}

// readAll reads a short file of /proc; nothing where it is not to be had.
func readAll(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 1024)
	n, err := unix.Read(fd, b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// counts reports whether a line of sockstat counts a socket: "TCP: inuse 1 …".
func counts(text []byte) bool {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) < 3 || !bytes.HasPrefix(f[0], []byte("TCP")) && !bytes.HasPrefix(f[0], []byte("UDP")) || string(f[1]) != "inuse" {
			continue
		}
		if n, err := strconv.Atoi(string(f[2])); err == nil && n > 0 {
			return true
		}
	}
	return false
}
