package osltest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leakWait is how long what a test closed at its end may take to be gone.
const leakWait = time.Second

// leaks tells what of this process, and which processes, are still in the sandboxes. It
// closes the network's handles first, so that all that is left is the test's.
func (n *Network) leaks() []string {
	own := map[int]bool{}
	for _, r := range n.recorders {
		own[r.fd] = true
	}
	for _, c := range n.captures {
		own[c.r.fd] = true
	}
	for _, r := range n.relays {
		own[r.end[0]], own[r.end[1]] = true, true
	}
	names := map[uint64]string{}
	for name, s := range n.sandboxes {
		f, err := s.File()
		if err != nil {
			continue // the test destroyed it
		}
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) == nil {
			names[st.Ino] = name
		}
		f.Close()
	}
	for _, s := range n.sandboxes {
		_ = s.Close()
	}
	end := time.Now().Add(leakWait)
	// Most is gone in a moment; the looks after that cost as much as what they wait for.
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		list := append(strayProcesses(names), strayDescriptors(names, own)...)
		if len(list) == 0 || time.Now().After(end) {
			return list
		}
		time.Sleep(pause)
	}
}

// strayProcesses tells which threads of this process and of its children, and theirs,
// are in a namespace.
func strayProcesses(names map[uint64]string) (list []string) {
	self := strconv.Itoa(os.Getpid())
	childless := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil) == unix.ECHILD
	for todo := []string{self}; len(todo) > 0; todo = todo[1:] {
		tasks, _ := filepath.Glob("/proc/" + todo[0] + "/task/[0-9]*")
		for _, task := range tasks {
			if !childless { // which each thread would be asked for
				children, _ := os.ReadFile(task + "/children") // of a thread that ended there are none
				todo = append(todo, strings.Fields(string(children))...)
			}
			link, err := os.Readlink(task + "/ns/net")
			if err != nil {
				continue
			}
			ino, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, "net:["), "]"), 10, 64)
			if name := names[ino]; err == nil && name != "" {
				command, _ := os.ReadFile("/proc/" + todo[0] + "/comm")
				what := fmt.Sprintf("the process %s (%s) in %s", todo[0], strings.TrimSpace(string(command)), name)
				if todo[0] == self {
					what = fmt.Sprintf("a thread in %s", name)
				}
				if !slices.Contains(list, what) {
					list = append(list, what)
				}
			}
		}
	}
	return list
}

// strayDescriptors tells which descriptors of this process keep a namespace: sockets,
// queues of a tun or tap, and those of the namespace itself.
func strayDescriptors(names map[uint64]string, own map[int]bool) (list []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || own[fd] {
			continue
		}
		of, what := fd, "a descriptor of the namespace"
		const siocgskns = 0x894C // SIOCGSKNS of linux/sockios.h
		if ns, err := unix.IoctlRetInt(fd, siocgskns); err == nil && ns >= 0 {
			of, what = ns, socketName(fd)
		}
		var st unix.Stat_t
		var fs unix.Statfs_t
		err = unix.Fstat(of, &st)
		name := names[st.Ino]
		if err == nil && name != "" {
			err = unix.Fstatfs(of, &fs)
		}
		if of != fd {
			unix.Close(of)
		}
		if err == nil && name != "" && what != "" && fs.Type == unix.NSFS_MAGIC {
			list = append(list, fmt.Sprintf("%s open in %s", what, name))
		}
	}
	return list
}

// socketName tells what a socket is; empty for one of route netlink, by which osl may
// still be deleting a link.
func socketName(fd int) string {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil { // no socket, but of a namespace
		return "a queue of a tun or tap"
	}
	typ, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	kind := map[int]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp", unix.SOCK_RAW: "raw"}[typ]
	switch domain {
	case unix.AF_NETLINK:
		if proto, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); proto == unix.NETLINK_ROUTE {
			return ""
		}
		kind = "netlink"
	case unix.AF_UNIX:
		kind = "unix"
	case unix.AF_PACKET:
		kind = "packet"
	}
	if listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); listens == 1 {
		kind += " listener"
	}
	text := "a " + kind + " socket"
	if sa, err := unix.Getsockname(fd); err == nil {
		switch a := sa.(type) {
		case *unix.SockaddrInet4:
			text += fmt.Sprintf(" of port %d", a.Port)
		case *unix.SockaddrInet6:
			text += fmt.Sprintf(" of port %d", a.Port)
		case *unix.SockaddrUnix:
			text += " " + a.Name
		}
	}
	return text
}
