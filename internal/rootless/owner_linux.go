package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
)

// Strange reports whether the process has no rights over the network namespace that it
// is in: without root, or as root of a user namespace that has the machine's network.
func Strange() bool {
	if Needed() {
		return true
	}
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return false // what follows says more
	}
	defer own.Close()
	owner, err := unix.IoctlRetInt(int(own.Fd()), unix.NS_GET_USERNS)
	if err == nil {
		unix.Close(owner)
	}
	return errors.Is(err, unix.EPERM)
}

// AtOwner reports whether the command was started by EnterOwner.
func AtOwner() bool { return os.Getenv(ownerEnv) != "" }

// ownerEnv marks a command that EnterOwner started.
const ownerEnv = "OSL_OWNER"

// EnterOwner replaces the process by the same command, args, in the user namespace that
// owns the network namespace at path, with an empty network of its own, and input as
// its standard input. It returns only when that fails.
func EnterOwner(path string, args []string, input []byte) error {
	const where = "; without root, the runtime and its hooks have to be in one user namespace, as rootless podman has them, or the container's has to let them in"
	net, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the container's network: %w%s", err, where)
	}
	fd, err := unix.IoctlRetInt(int(net.Fd()), unix.NS_GET_USERNS)
	net.Close()
	if err != nil {
		return fmt.Errorf("the owner of the container's network: %w%s", err, where)
	}
	unix.CloseOnExec(fd)
	owner := os.NewFile(uintptr(fd), "owner")
	defer owner.Close()
	argv := []string{"unshare", "--net", "--"}
	if own, err := os.Stat("/proc/self/ns/user"); err != nil {
		return err
	} else if st, err := owner.Stat(); err != nil {
		return err
	} else if !os.SameFile(own, st) {
		to, err := unix.Dup(fd) // the runtime sets close-on-exec on what it opens
		if err != nil {
			return err
		}
		argv = append([]string{"nsenter", "--preserve-credentials", fmt.Sprintf("--user=/proc/self/fd/%d", to), "--"}, argv...)
	} else if Needed() {
		return errors.New("the container's network is of a user namespace in which this process has no rights: run the runtime as root")
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return errors.New("without root, osl needs the programs nsenter and unshare (of util-linux), which are not installed; install them, or run the runtime as root")
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := setInput(input); err != nil {
		return fmt.Errorf("hand the container's state on: %w", err)
	}
	env := append(os.Environ(), ownerEnv+"=1")
	if os.Getenv(BaseEnv) == "" { // not one of that user namespace, which nobody would remove
		env = append(env, BaseEnv+"="+base.User())
	}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, append(append(argv, exe), args...), env))
}

// setInput makes text the standard input.
func setInput(text []byte) error {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for at := 0; at < len(text); {
		n, err := unix.Pwrite(fd, text[at:], int64(at))
		if err != nil {
			return err
		}
		at += n
	}
	return unix.Dup3(fd, 0, 0)
}
