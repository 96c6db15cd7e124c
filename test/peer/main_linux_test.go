package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/log"
	mobyosl "github.com/moby/moby/v2/daemon/libnetwork/osl"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// behaviour is one thing that must hold, tried with one driver in a process and
// in namespaces of its own.
type behaviour struct {
	row  string // of the requirements from the field, "" where there is none
	what string
	try  func(*run)
}

// The exit codes of the process that tries a behaviour.
const (
	codeNotRun  = -1 // not among those that -run picked
	codeHolds   = 0
	codeNot     = 10 // the reason is printed
	codeMissing = 11 // the package offers no such thing
	codeSetup   = 12 // the test could not set the stage: no verdict
)

// The environment of a process that tries a behaviour: driver and number, and
// the step of it that a process within the same namespaces does.
const (
	tryVar  = "OSL_PEER_TRY"
	stepVar = "OSL_PEER_STEP"
)

var drivers = map[string]driver{"osl": oslDriver{}, "moby": mobyDriver{}}

func TestMain(m *testing.M) {
	if os.Getenv(tryVar) != "" {
		try()
	}
	testnet.Main(m)
}

// try is the process of one behaviour.
func try() {
	var name string
	var number int
	if _, err := fmt.Sscan(os.Getenv(tryVar), &name, &number); err != nil {
		setup(err)
	}
	mobyosl.SetBasePath("/run/docker")
	_ = log.SetLevel("panic")
	r := &run{driver: drivers[name], step: os.Getenv(stepVar), env: tryVar + "=" + os.Getenv(tryVar)}
	if r.step == "" {
		setup(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		setup(unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"))
		r.up("lo")
	}
	behaviours()[number].try(r)
	os.Exit(codeHolds)
}

func behaviours() (all []behaviour) {
	for _, list := range [][]behaviour{lives, additions, removals, addressing, returns} {
		all = append(all, list...)
	}
	return all
}

// setup ends the process where the stage can not be set.
func setup(err error) {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		fmt.Printf("%s:%d: %v\n", file[strings.LastIndexByte(file, '/')+1:], line, err)
		os.Exit(codeSetup)
	}
}

// limit is for one behaviour; the slowest takes five seconds on an idle machine.
const limit = time.Minute

// attempt runs a behaviour with a driver, and says what came of it.
func attempt(name string, number int) (code int, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", tryVar, name, number))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// The death signal follows the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return codeNot, fmt.Sprintf("does not end within %v", limit)
	}
	why = strings.TrimSpace(out.String())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return codeHolds, why
	case !errors.As(err, &exit):
		return codeSetup, err.Error()
	case exit.ExitCode() >= codeNot:
		return exit.ExitCode(), why
	}
	for line := range strings.Lines(errs.String()) {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			return codeNot, "the process dies: " + strings.TrimSpace(line)
		}
	}
	return codeNot, fmt.Sprintf("the process dies: %v %.300s", err, errs.String())
}

// TestPeer tries every behaviour with both packages and prints the table. It
// fails where osl does not hold one, and where there is no verdict.
func TestPeer(t *testing.T) {
	all := behaviours()
	notRun := slices.Repeat([]result{{codeNotRun, ""}}, len(all))
	results := map[string][]result{"osl": notRun, "moby": slices.Clone(notRun)}
	for name := range results {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			slots := make(chan bool, 2*runtime.NumCPU()) // they wait more than they work
			for n, b := range all {
				wg.Go(func() {
					slots <- true
					defer func() { <-slots }()
					t.Run(b.what, func(t *testing.T) {
						code, why := attempt(name, n)
						results[name][n] = result{code, why}
						if code == codeSetup || name == "osl" && code != codeHolds {
							t.Error(why)
						}
					})
				})
			}
			wg.Wait()
		})
	}
	var table strings.Builder
	print(&table, all, results)
	t.Log("\n" + table.String())
}

type result struct {
	code int
	why  string
}

func print(w io.Writer, all []behaviour, results map[string][]result) {
	word := map[int]string{codeHolds: "holds", codeNot: "NO", codeMissing: "-", codeSetup: "?"}
	count := map[string]map[int]int{"osl": {}, "moby": {}}
	fmt.Fprintf(w, "%-3s | %-95s | %-5s | %s\n", "row", "behaviour", "osl", "moby")
	for n, b := range all {
		o, m := results["osl"][n], results["moby"][n]
		count["osl"][o.code]++
		count["moby"][m.code]++
		fmt.Fprintf(w, "%-3s | %-95s | %-5s | %s\n", b.row, b.what, word[o.code], word[m.code])
	}
	for _, name := range []string{"osl", "moby"} {
		c := count[name]
		fmt.Fprintf(w, "%s: %d of %d behaviours hold, %d do not, %d are not offered\n", name, c[codeHolds], len(all), c[codeNot], c[codeMissing])
	}
	for _, name := range []string{"osl", "moby"} {
		for n, b := range all {
			if r := results[name][n]; r.code > codeHolds {
				fmt.Fprintf(w, "%s, %q: %s\n", name, b.what, r.why)
			}
		}
	}
}
