package engine_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// shownCall is a system call that the tracer looks at.
type shownCall struct {
	number uint32
	name   string
	// read tells what the call is about; nil for those that the tracer needs
	// for itself.
	read func(f *follower, name string, arg [4]uint64) (call, bool)
}

var shownCalls = []shownCall{
	{unix.SYS_GETPRIORITY, "", nil},
	{unix.SYS_RECVFROM, "", nil},

	{unix.SYS_SENDMSG, "sendmsg", readSendmsg},
	{unix.SYS_SENDTO, "sendto", readAny},
	{unix.SYS_SENDMMSG, "sendmmsg", readAny},
	{unix.SYS_WRITE, "write", readWrite},
	{unix.SYS_PWRITE64, "pwrite64", readWrite},
	{unix.SYS_WRITEV, "writev", readWrite},
	{unix.SYS_IOCTL, "ioctl", readIoctl},
	{unix.SYS_FCNTL, "fcntl", readFcntl},
	{unix.SYS_OPENAT, "openat", readOpenat},
	{unix.SYS_OPEN, "open", readAny},
	{unix.SYS_CREAT, "creat", readAny},
	{unix.SYS_OPENAT2, "openat2", readAny},
	{unix.SYS_SOCKET, "socket", readOwn},
	{unix.SYS_SETNS, "setns", readOwn},
	{unix.SYS_UNSHARE, "unshare", readOwn},
	{unix.SYS_MOUNT, "mount", readMount},
	{unix.SYS_UMOUNT2, "umount2", readPath0},
	{unix.SYS_OPEN_TREE, "open_tree", readAny},
	{unix.SYS_MOVE_MOUNT, "move_mount", readAny},
	{unix.SYS_MOUNT_SETATTR, "mount_setattr", readAny},
	{unix.SYS_FSOPEN, "fsopen", readAny},
	{unix.SYS_FSMOUNT, "fsmount", readAny},
	{unix.SYS_UNLINK, "unlink", readPath0},
	{unix.SYS_UNLINKAT, "unlinkat", readPath1},
	{unix.SYS_RMDIR, "rmdir", readPath0},
	{unix.SYS_MKDIR, "mkdir", readPath0},
	{unix.SYS_MKDIRAT, "mkdirat", readPath1},
	{unix.SYS_RENAME, "rename", readPath0},
	{unix.SYS_RENAMEAT, "renameat", readPath1},
	{unix.SYS_RENAMEAT2, "renameat2", readPath1},
	{unix.SYS_LINK, "link", readPath0},
	{unix.SYS_LINKAT, "linkat", readPath1},
	{unix.SYS_SYMLINKAT, "symlinkat", readAny},
	{unix.SYS_MKNODAT, "mknodat", readPath1},
	{unix.SYS_CHMOD, "chmod", readPath0},
	{unix.SYS_FCHMOD, "fchmod", readAny},
	{unix.SYS_FCHMODAT, "fchmodat", readPath1},
	{unix.SYS_FCHOWN, "fchown", readAny},
	{unix.SYS_FCHOWNAT, "fchownat", readPath1},
	{unix.SYS_TRUNCATE, "truncate", readPath0},
	{unix.SYS_FTRUNCATE, "ftruncate", readAny},
	{unix.SYS_SETXATTR, "setxattr", readPath0},
	{unix.SYS_FSETXATTR, "fsetxattr", readAny},
	{unix.SYS_FLOCK, "flock", readAny},
}

func readAny(_ *follower, name string, _ [4]uint64) (call, bool) {
	return call{name: name, changes: true, text: name}, true
}

func readPath0(f *follower, name string, arg [4]uint64) (call, bool) {
	return call{name: name, changes: true, text: name + " " + f.path(arg[0])}, true
}

func readPath1(f *follower, name string, arg [4]uint64) (call, bool) {
	return call{name: name, changes: true, text: name + " " + f.path(arg[1])}, true
}

func readMount(f *follower, name string, arg [4]uint64) (call, bool) {
	return call{name: name, changes: true, text: name + " " + f.path(arg[1])}, true
}

// readOwn is of calls that change the process only.
func readOwn(_ *follower, name string, _ [4]uint64) (call, bool) {
	return call{name: name, text: name}, true
}

func readOpenat(f *follower, name string, arg [4]uint64) (call, bool) {
	c := call{name: name, text: name + " " + f.path(arg[1])}
	switch flags := arg[2]; {
	case flags&unix.O_CREAT != 0:
		c.changes, c.text = true, c.text+" to create it"
	case flags&unix.O_TRUNC != 0 && !strings.Contains(c.text, " /proc/"):
		c.changes, c.text = true, c.text+" to empty it"
	case flags&unix.O_ACCMODE != unix.O_RDONLY:
		c.text += " to write"
	}
	return c, true
}

// readWrite sees only settings; the runtime and the operation's report write
// too.
func readWrite(f *follower, name string, arg [4]uint64) (call, bool) {
	to := f.descriptor(arg[0])
	if !strings.HasPrefix(to, "/proc/") {
		return call{}, false
	}
	value := f.bytes(arg[1], arg[2])
	if name == "writev" {
		value = []byte("...")
	}
	return call{name: name, changes: true, text: fmt.Sprintf("%s %q to %s", name, value, to)}, true
}

func readIoctl(_ *follower, name string, arg [4]uint64) (call, bool) {
	request := arg[1]
	if request == 0xc0045878 { // FITHAW: its errors are the answer to whose a tmpfs is
		return call{}, false
	}
	// Requests of type T are of tun devices; 0x8914 is SIOCSIFFLAGS.
	changes := request>>8&0xff == 'T' || request == unix.SIOCSIFFLAGS
	return call{name: name, changes: changes, text: fmt.Sprintf("%s %#x", name, request)}, true
}

func readFcntl(_ *follower, name string, arg [4]uint64) (call, bool) {
	switch arg[1] {
	case unix.F_OFD_SETLK, unix.F_OFD_SETLKW, unix.F_SETLK, unix.F_SETLKW:
		return call{name: name, text: name + " of a lock"}, true // it ends with the process
	}
	return call{}, false
}

// messageNames are of linux/rtnetlink.h, in steps of four: what makes, deletes
// and reads an object, and what sets a link.
var messageNames = map[uint16]string{unix.RTM_NEWLINK: "link", unix.RTM_NEWADDR: "addr", unix.RTM_NEWROUTE: "route",
	unix.RTM_NEWNEIGH: "neigh", unix.RTM_NEWRULE: "rule", unix.RTM_NEWLINKPROP: "altname"}

// readSendmsg reads the messages of a batch, those of route netlink; it is
// nothing else that osl sends.
func readSendmsg(f *follower, name string, arg [4]uint64) (call, bool) {
	h := binary.NativeEndian
	head := f.bytes(arg[1], 56) // struct msghdr
	if len(head) < 56 || h.Uint64(head[24:]) == 0 {
		return call{}, false
	}
	iov := f.bytes(h.Uint64(head[16:]), 16)
	if len(iov) < 16 {
		return call{}, false
	}
	c := call{name: name}
	var words []string
	at := h.Uint64(iov)
	for _, m := range messages(f.bytes(at, h.Uint64(iov[8:]))) {
		typ, flags := h.Uint16(m[4:]), h.Uint16(m[6:])
		verb := [...]string{"new", "del", "get", "set"}[typ&3]
		if typ&3 == 0 && flags&unix.NLM_F_CREATE == 0 {
			verb = "set"
		}
		what, ok := messageNames[typ&^3]
		if !ok {
			what = fmt.Sprint(typ)
		}
		if typ&3 != 2 {
			c.changes, c.messages = true, append(c.messages, at)
		}
		at += uint64(len(m))
		if w := verb + " " + what; !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	c.text = name + " " + strings.Join(words, ", ")
	return c, true
}
