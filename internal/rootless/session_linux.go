package rootless

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/netns"
)

// passEnv carries a joining command's state through nsenter to itself.
const passEnv = "OSL_ROOTLESS"

// passed is the value of passEnv.
type passed struct {
	Dir   string `json:"dir"`
	Base  string `json:"base"`
	Cwd   string `json:"cwd"`  // entering a mount namespace leads to its root
	Lock  int    `json:"lock"` // descriptor, held shared
	Close []int  `json:"close"`
}

// Session is a command's stay in the user's own namespaces.
type Session struct {
	dir, base string
	lock      *os.File
}

// Needed reports whether the command runs without root and without the
// capabilities that it needs.
func Needed() bool {
	if os.Geteuid() == 0 {
		return false // what root lacks in a container, no namespace gives it
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return true
	}
	const need = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return data[0].Effective&need != need
}

// Joined reports whether the command was started by Enter, for Resume to go on.
func Joined() bool { _, is := os.LookupEnv(passEnv); return is }

// Enter replaces the process by the same command, args, inside the user's
// namespaces; it makes them first where that is needed. It returns only when
// that fails.
func Enter(args []string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return errors.New("without root, osl needs the program nsenter (of util-linux), which is not installed; install it, or run osl as root")
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("the working directory: %w", err)
	}
	dir := base.User()
	if _, err := base.Make(dir); err != nil {
		return fmt.Errorf("without root, osl keeps its keys in a directory of yours: %w", err)
	}
	lock, err := lockShared(dir)
	if err != nil {
		return err
	}
	ns, err := findOrStart(dir)
	if err != nil {
		lock.Close()
		return err
	}
	user, err := inode(ns.user)
	if err != nil {
		return err
	}
	state := passed{Dir: dir, Base: base.Of(dir, user), Cwd: cwd}
	var fds [4]int
	for i, f := range []*os.File{lock, ns.user, ns.mount, ns.net} {
		// A copy, since the runtime sets close-on-exec on what it opens.
		if fds[i], err = unix.Dup(int(f.Fd())); err != nil {
			return err
		}
	}
	state.Lock, state.Close = fds[0], fds[1:]
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	argv := append([]string{"nsenter", "--preserve-credentials",
		fmt.Sprintf("--user=/proc/self/fd/%d", fds[1]),
		fmt.Sprintf("--mount=/proc/self/fd/%d", fds[2]),
		fmt.Sprintf("--net=/proc/self/fd/%d", fds[3]),
		"--", exe}, args...)
	return fmt.Errorf("%s: %w", nsenter, syscall.Exec(nsenter, argv, append(os.Environ(), passEnv+"="+string(b))))
}

// lockShared holds the user's lock as long as the process runs: while anyone
// does, the holder is not killed.
func lockShared(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// findOrStart opens the namespaces of the recorded holder, or of a new one. An
// exclusive lock on the record keeps two first commands from making two.
func findOrStart(dir string) (namespaces, error) {
	record, err := os.OpenFile(filepath.Join(dir, "holder"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return namespaces{}, err
	}
	defer record.Close()
	if err := flock(record, unix.LOCK_EX); err != nil {
		return namespaces{}, fmt.Errorf("lock %s: %w", record.Name(), err)
	}
	h, err := read(record)
	if err != nil {
		return namespaces{}, err
	}
	if h.PID != 0 {
		if ns, err := h.open(); !errors.Is(err, errGone) {
			return ns, err
		}
		sweep(dir, h)
	}
	h, ns, err := start()
	if err != nil {
		return namespaces{}, err
	}
	if err := write(record, h); err != nil {
		ns.close()
		return namespaces{}, errors.Join(err, h.kill())
	}
	return ns, nil
}

// Resume is called first thing: it takes over what Enter passed to this
// process. It returns nil where the command did not come through Enter.
func Resume() (*Session, error) {
	value, ok := os.LookupEnv(passEnv)
	if !ok {
		return nil, nil
	}
	// Programs that this command starts are no part of this.
	if err := os.Unsetenv(passEnv); err != nil {
		return nil, err
	}
	var p passed
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return nil, fmt.Errorf("%s: %w", passEnv, err)
	}
	for _, fd := range p.Close {
		if err := unix.Close(fd); err != nil {
			return nil, fmt.Errorf("%s: descriptor %d: %w", passEnv, fd, err)
		}
	}
	unix.CloseOnExec(p.Lock)
	if err := os.Chdir(p.Cwd); err != nil {
		return nil, err
	}
	if os.Getenv(BaseEnv) == "" {
		if err := os.Setenv(BaseEnv, p.Base); err != nil {
			return nil, err
		}
	}
	return &Session{dir: p.Dir, base: p.Base, lock: os.NewFile(uintptr(p.Lock), "lock")}, nil
}

// Leave ends the stay. The last command out, with no sandbox left, ends the
// holder and with it the namespaces.
func (s *Session) Leave() error {
	if s == nil {
		return nil
	}
	defer s.lock.Close()
	// This lets go of the shared lock first. So of several commands that
	// leave at once, the last to come here finds the lock free.
	if err := flock(s.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // another command runs and will look after it
	}
	left, err := sandboxes()
	if err != nil || left > 0 {
		return err
	}
	record, err := os.OpenFile(filepath.Join(s.dir, "holder"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer record.Close()
	h, err := read(record)
	if err != nil || h.PID == 0 {
		return err
	}
	if err := record.Truncate(0); err != nil {
		return err
	}
	removeBase(s.base)
	return h.kill()
}

// sandboxes counts the network namespaces of this user namespace that are
// mounted somewhere, whatever their base path. Those of others, seen through
// the machine's mounts, do not count.
func sandboxes() (int, error) {
	paths, err := netns.Pinned()
	if err != nil {
		return 0, err
	}
	own, err := os.Open("/proc/self/ns/user")
	if err != nil {
		return 0, err
	}
	defer own.Close()
	count := 0
	for _, path := range paths {
		if belongs(path, own) {
			count++
		}
	}
	return count, nil
}

// belongs reports whether the network namespace at path is owned by the user
// namespace.
func belongs(path string, user *os.File) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // not ours to open, so not ours
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	owner := os.NewFile(uintptr(fd), "owner")
	defer owner.Close()
	a, errA := inode(owner)
	b, errB := inode(user)
	return errA == nil && errB == nil && a == b
}
