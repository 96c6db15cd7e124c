//go:build linux

package netns

import (
	"bytes"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// Sockets are those of a family and a protocol: unix.AF_INET and unix.IPPROTO_TCP.
type Sockets struct{ Family, Protocol byte }

// counted are the lines of sockstat and sockstat6.
var counted = map[string]Sockets{
	"TCP:": {unix.AF_INET, unix.IPPROTO_TCP}, "UDP:": {unix.AF_INET, unix.IPPROTO_UDP},
	"TCP6:": {unix.AF_INET6, unix.IPPROTO_TCP}, "UDP6:": {unix.AF_INET6, unix.IPPROTO_UDP},
}

// SocketsHere returns which sockets the kernel counts in the calling thread's network
// namespace, of whatever process: all, where there is no /proc to ask.
func SocketsHere() (list []Sockets) {
	for _, name := range [...]string{"sockstat", "sockstat6"} { // the second is not there without IPv6
		text := readAll("/proc/thread-self/net/" + name)
		if text == nil && name == "sockstat" {
			return slices.Collect(maps.Values(counted))
		}
		for line := range bytes.Lines(text) { // "TCP: inuse 1 …"
			f := bytes.Fields(line)
			if len(f) < 3 || string(f[1]) != "inuse" || string(f[2]) == "0" {
				continue
			}
			if s, has := counted[string(f[0])]; has {
				list = append(list, s)
			}
		}
	}
	return list
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
