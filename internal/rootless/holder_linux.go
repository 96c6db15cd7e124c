package rootless

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/loopback"
)

// holder identifies the holder beyond doubt: a process id alone may belong to
// another process by now.
type holder struct {
	PID     int    `json:"pid"`
	Start   string `json:"start"`    // of the process, in clock ticks since boot
	UserNS  uint64 `json:"user_ns"`  // inode
	MountNS uint64 `json:"mount_ns"` // inode
}

// namespaces are descriptors of a holder's namespaces.
type namespaces struct{ user, mount, net *os.File }

func (n namespaces) close() {
	for _, f := range []*os.File{n.user, n.mount, n.net} {
		if f != nil {
			f.Close()
		}
	}
}

// openNamespaces opens the namespaces of a process.
func openNamespaces(pid int) (n namespaces, err error) {
	for _, x := range []struct {
		file **os.File
		name string
	}{{&n.user, "user"}, {&n.mount, "mnt"}, {&n.net, "net"}} {
		if *x.file, err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, x.name)); err != nil {
			n.close()
			return namespaces{}, err
		}
	}
	return n, nil
}

// errGone says that a record is of a process that is no more.
var errGone = errors.New("the recorded holder is gone")

// open opens the holder's namespaces, and only then makes sure that they are
// those of the holder. So it does not matter what becomes of the process id.
func (h holder) open() (namespaces, error) {
	if !h.alive() {
		return namespaces{}, errGone
	}
	n, err := openNamespaces(h.PID)
	if err != nil && h.alive() {
		return n, fmt.Errorf("the holder of your namespaces, process %d, can't be joined: %w", h.PID, err)
	}
	if err != nil {
		return n, errGone
	}
	if found, err := identify(h.PID, n); err != nil || found != h {
		n.close()
		return namespaces{}, errGone
	}
	return n, nil
}

// alive reports whether there is a process of this id and age.
func (h holder) alive() bool {
	s, err := startTime(h.PID)
	return err == nil && s == h.Start
}

// identify describes the process as a holder.
func identify(pid int, n namespaces) (holder, error) {
	h := holder{PID: pid}
	var err error
	if h.UserNS, err = inode(n.user); err != nil {
		return h, err
	}
	if h.MountNS, err = inode(n.mount); err != nil {
		return h, err
	}
	h.Start, err = startTime(pid)
	return h, err
}

func inode(f *os.File) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Ino, err
}

// startTime reads field 22 of /proc/PID/stat. The second field, the name, may
// hold blanks and parentheses itself.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	s := string(b)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// readyFD is the descriptor on which a holder tells that it stands: nothing,
// or what went wrong.
const readyFD = 3

// start starts a holder and waits until it stands.
func start() (holder, namespaces, error) {
	fail := func(err error) (holder, namespaces, error) { return holder{}, namespaces{}, err }
	exe, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	cmd := exec.Command(exe, HolderVerb)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Setsid:      true,
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fail(Refusal(err))
	}
	said, err := io.ReadAll(r)
	if err == nil && string(said) != "ready" {
		err = fmt.Errorf("the holder of your namespaces did not start: %s", said)
	}
	var h holder
	var n namespaces
	if err == nil {
		n, err = openNamespaces(cmd.Process.Pid)
	}
	if err == nil {
		h, err = identify(cmd.Process.Pid, n)
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
		n.close()
		return fail(err)
	}
	return h, n, nil
}

// Refusal explains why the kernel made no user namespace.
func Refusal(err error) error {
	why := "the kernel or a security policy forbids it"
	switch {
	case setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		why = "kernel.unprivileged_userns_clone is 0"
	case setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		why = "kernel.apparmor_restrict_unprivileged_userns is 1"
	case errors.Is(err, unix.ENOSPC):
		why = "the limit user.max_user_namespaces is reached, or that of net or mnt"
	}
	for _, kind := range []string{"mnt", "net", "user"} { // the last one is said
		if name := "max_" + kind + "_namespaces"; setting("/proc/sys/user/"+name) == "0" {
			why = "user." + name + " is 0"
		}
	}
	return fmt.Errorf("without root, osl needs a user namespace of its own, and can't make one: %s; run osl as root, or allow it (%w)", why, err)
}

func setting(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "" // this kernel lacks it
	}
	return strings.TrimSpace(string(b))
}

// Hold is the holder: it prepares the namespaces it was started in, says so,
// and waits until it is killed.
func Hold() int {
	unix.CloseOnExec(readyFD)
	ready := os.NewFile(readyFD, "ready")
	err := dropInherited()
	if err == nil {
		err = prepare()
	}
	if err != nil {
		fmt.Fprint(ready, err)
		return 1
	}
	fmt.Fprint(ready, "ready")
	if ready.Close() != nil {
		return 1
	}
	for {
		// Returns when a signal came that did not end the process.
		_ = unix.Pause()
	}
}

// dropInherited closes what the first command was started with, such as a pipe
// whose other end waits for it to close. The runtime's own descriptors are
// close-on-exec; what was inherited is not.
func dropInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		// One that is closed by now was that of the directory itself.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

func prepare() error {
	// What is mounted on the machine later is seen here too; what osl mounts
	// here stays here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make / a slave mount: %w", err)
	}
	if err := loopback.Up(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// read returns the recorded holder; the zero value if there is no record.
func read(f *os.File) (holder, error) {
	var h holder
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<16))
	if err != nil || len(b) == 0 {
		return h, err
	}
	// A record that a killed process wrote half names no holder either.
	if json.Unmarshal(b, &h) != nil {
		return holder{}, nil
	}
	return h, nil
}

func write(f *os.File, h holder) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return err
}

// endTime bounds the wait for a killed holder to be gone.
const endTime = 2 * time.Second

// kill ends the recorded holder, if it is still that, and waits until it has.
func (h holder) kill() error {
	fd, err := unix.PidfdOpen(h.PID, 0)
	if err != nil {
		return nil // gone
	}
	defer unix.Close(fd)
	// The descriptor can't change its process any more; the id could have
	// before it was opened.
	if !h.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the holder, process %d: %w", h.PID, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for end := time.Now().Add(endTime); time.Now().Before(end); {
		if n, err := unix.Poll(poll, int(endTime.Milliseconds())); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return fmt.Errorf("the holder, process %d, does not end", h.PID)
}
