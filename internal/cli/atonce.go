package cli

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/rootless"
)

// ExecAtOnce is "exec NAME -- COMMAND" for the plain case, in which osl has nothing
// more to do than to become the command inside the sandbox: it does not return then.
// It returns where that is not so, or something is wrong, and has done nothing; Run
// says what.
func ExecAtOnce(args []string) {
	if len(args) < 3 || args[0] != "exec" || strings.HasPrefix(args[1], "-") || rootless.Joined() || rootless.Needed() {
		return
	}
	argv := commandOf(args[1:])
	if len(argv) == 0 {
		return
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return
	}
	base.Set(defaultBase())
	defer base.Set("")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	joined, err := engine.Join(args[1])
	if joined {
		err = notStarted(&os.PathError{Op: "exec", Path: path, Err: syscall.Exec(path, argv, os.Environ())})
	}
	if err != nil {
		os.Exit((&app{verb: "exec", begun: true, stderr: os.Stderr}).report(err))
	}
}
