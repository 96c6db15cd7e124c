// Command kernel runs osl's tests on Debian's stock kernel, in a virtual
// machine with network cards of its own: there the tests may move physical
// devices, and kernel modules that the machine at hand may lack can be loaded.
//
//	go run ./test/kernel
//
// With -command it runs a program in place of the tests, such as those of CNI's
// plugins (go run ./test/cni -kernel 6.12).
//
// With -features it runs the tests of what kernels may lack, on this kernel and on
// all of Debian's that it knows, and writes docs/kernels.md.
//
// It needs Debian, and KVM if that is to be fast. As root it installs what is
// missing (qemu, busybox); as another user it says so. Nothing leaves the
// virtual machine: its cards are plugged into a hub that has no other port.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed init.sh
var initScript []byte

// run is one test binary's run in the machine.
type run struct {
	name              string
	user              int
	dir, env, command string
	binary, source    string // of this machine
}

// options are the command's.
type options struct {
	timeout             time.Duration
	kernel, only, flags string
	verbose             bool
	user                int
	command, files      string
	programs            string
}

func main() {
	var o options
	flag.DurationVar(&o.timeout, "timeout", 30*time.Minute, "how long the machine may run")
	flag.StringVar(&o.kernel, "kernel", kernels[0].version, "Debian's kernel: 6.1 or 6.12")
	flag.StringVar(&o.only, "only", "", "run only what has this in its name")
	flag.BoolVar(&o.verbose, "v", false, "print all that the machine prints")
	flag.IntVar(&o.user, "user", 0, "user that runs the tests; one that is not root can not move network cards")
	flag.StringVar(&o.flags, "flags", "-test.short", "flags of the test binaries")
	flag.StringVar(&o.command, "command", "", "run this `command` in place of the tests")
	flag.StringVar(&o.files, "files", "", "a `directory` that the machine has too")
	flag.StringVar(&o.programs, "programs", "", "more `programs` of this machine, with commas between, that it has")
	features := flag.String("features", "", "run the tests of features on all kernels, and write docs/kernels.md, or check that it is right")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := installNeeded()
	if err == nil && *features != "" {
		err = matrix(ctx, o, *features)
	} else if err == nil {
		_, err = test(ctx, o, everything)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel-test:", err)
		os.Exit(1)
	}
}

// test runs tests in the machine.
func test(ctx context.Context, o options, which selection) (*report, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	k, err := fetchKernel(cache, o.kernel)
	if err != nil {
		return nil, err
	}
	// Of this run alone: two may run at the same time.
	work, err := os.MkdirTemp(cache, "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	runs := []run{{name: "command", user: o.user, dir: "/", env: "OSL_PHYSICAL=", command: o.command}}
	if o.command == "" {
		if runs, err = build(work, o, which); err != nil {
			return nil, err
		}
	}
	newer, err := fetchNewer(cache)
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(work, "initrd")
	if err := makeImage(initrd, work, newer, k, o, runs); err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the machine did not end within %v", o.timeout))
	defer cancel()
	r := newReport(runs, o.verbose)
	r.command = o.command != ""
	start := time.Now()
	err = boot(ctx, k, initrd, r)
	log := filepath.Join(cache, "last.log")
	err = errors.Join(err, os.WriteFile(log, r.log.Bytes(), 0o644))
	fmt.Printf("%v in all; the whole log: %s\n", time.Since(start).Round(time.Second), log)
	return r, errors.Join(err, r.verdict())
}

// selection says which packages' tests run, and how: by the files of a package.
type selection func(dir string, o options) (as []run, ok bool)

// everything is each package's tests, and those of network cards by themselves.
func everything(dir string, o options) ([]run, bool) {
	runs := []run{{user: o.user, env: "OSL_PHYSICAL=", command: o.flags}}
	if filepath.Base(dir) == "test" && o.user == 0 {
		// The machine's own network cards are theirs.
		runs = append(runs, run{name: "physical", env: "OSL_PHYSICAL=1", command: o.flags + " -test.run=^TestPhysical"})
	}
	return runs, true
}

// build compiles the tests of every package whose tests touch the kernel.
func build(work string, o options, which selection) ([]run, error) {
	root, err := output("go", "env", "GOWORK")
	if err != nil {
		return nil, err
	}
	root = filepath.Dir(root)
	list, err := output("go", "list", "-f", "{{.ImportPath}} {{.Dir}} {{.TestImports}} {{.XTestImports}}", root+"/...", root+"/test/...")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(work, "bin")
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", bin + "/"}
	var chosen []run
	for line := range strings.Lines(list) {
		pkg, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		dir, imports, _ := strings.Cut(rest, " ")
		if !strings.Contains(imports, "golang.org/x/sys/unix") && !hasFeatures(dir) {
			continue // its tests make no system call: any kernel will do
		}
		runs, ok := which(dir, o)
		if !ok {
			continue
		}
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			return nil, err
		}
		args = append(args, pkg)
		base := filepath.Base(pkg)
		name := strings.ReplaceAll(rel, "/", "-")
		if rel == "." {
			name = "osl"
		}
		for _, r := range runs {
			if r.name == "" {
				r.name = name
			}
			r.dir, r.source, r.binary = filepath.Join("/src", rel), dir, filepath.Join(bin, base+".test")
			r.command = fmt.Sprintf("/tests/%s.test -test.v=test2json -test.timeout=%s %s", base, o.timeout, r.command)
			if strings.Contains(r.name, o.only) {
				chosen = append(chosen, r)
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no run has %q in its name", o.only)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return chosen, nil
}

// makeImage writes the initramfs: busybox, kernel modules, the programs that
// tests use, an ip that is newer, the test binaries, and the files of the source that tests read.
func makeImage(to, work, newer string, k kernel, o options, runs []run) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	i := newImage(f)
	for _, d := range []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/root"} {
		i.dir(d)
	}
	i.file("/init", initScript, 0o755)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	i.copy("/bin/busybox", busybox)
	i.file("/sbin/modprobe", []byte("#!/bin/busybox sh\nexec /bin/busybox modprobe \"$@\"\n"), 0o755)
	i.file("/etc/passwd", []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\nfrr:x:100:100::/tmp:/bin/sh\n"), 0o644)
	i.file("/etc/group", []byte("root:x:0:\nfrr:x:100:\nfrrvty:x:101:frr\n"), 0o644)
	i.file("/etc/protocols", []byte("icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\n"), 0o644)
	// busybox's own shell would take its own ip and setpriv for these.
	for _, p := range []string{"sh", "ip", "bridge", "tc", "ethtool", "strace", "nsenter", "setpriv", "unshare", "flock", "wg", frr + "zebra", frr + "bgpd"} {
		i.program(p)
	}
	i.binary("/newer/ip", newer)
	for p := range strings.FieldsFuncSeq(o.programs, func(c rune) bool { return c == ',' }) {
		i.program(p)
	}
	if o.files != "" {
		i.tree(o.files, o.files, func(string, fs.DirEntry) bool { return true })
	}
	i.file("/modules", []byte(strings.Join(modules, "\n")), 0o644)
	if err := k.addModules(i, modules, optional); err != nil {
		return err
	}
	if o.command == "" {
		i.tree("/tests", filepath.Join(work, "bin"), func(string, fs.DirEntry) bool { return true })
	}
	root, err := output("go", "env", "GOWORK")
	if err != nil {
		return err
	}
	i.tree("/src", filepath.Dir(root), func(path string, d fs.DirEntry) bool {
		return !strings.HasPrefix(d.Name(), ".") && (d.IsDir() || filepath.Ext(path) != ".test")
	})
	for n, lane := range lanes(runs) {
		var lines strings.Builder
		for _, r := range lane {
			fmt.Fprintln(&lines, r.name, r.user, r.dir, r.env, r.command)
		}
		i.file(fmt.Sprintf("/runs.%d", n), []byte(lines.String()), 0o644)
	}
	if err := i.close(); err != nil {
		return err
	}
	return f.Close()
}

// lanes says what the machine does at the same time, on its two processors: the
// tests of the module test beside all others, if this machine has processors to
// spare for that. Tests look at the clock, too.
func lanes(runs []run) [][]run {
	if runtime.NumCPU() < 4 {
		return [][]run{runs}
	}
	var l [2][]run
	for _, r := range runs {
		n := 0
		if strings.HasPrefix(r.dir, "/src/test") {
			n = 1
		}
		l[n] = append(l[n], r)
	}
	return l[:]
}

// cards are the machine's network cards, of two drivers.
var cards = []string{"virtio-net-pci", "virtio-net-pci", "virtio-net-pci", "vmxnet3"}

// processors are the ways to run the machine, the faster first: where this one
// is a virtual machine itself, the kernel may offer that and it does not work.
var processors = [][]string{
	{"-accel", "kvm", "-cpu", "host"},
	// A processor without wide registers is less work to emulate. Two of them take turns: the
	// kernel changes its own code, and one that is emulated beside the other may still have
	// what stood there before ("Oops: int3").
	{"-accel", "tcg,thread=single", "-cpu", "Nehalem"},
}

// boot runs the machine until it is off. The report reads its console.
func boot(ctx context.Context, k kernel, initrd string, r *report) (err error) {
	for _, p := range processors {
		err = bootOn(ctx, p, k, initrd, r)
		for again := 1; again < starts && r.stillborn(); again++ {
			fmt.Printf("the machine stopped before a test began, and is started again: %s\n", strings.Join(r.failed, "; "))
			r.reset()
			err = bootOn(ctx, p, k, initrd, r)
		}
		if err == nil || r.log.Len() > 0 || ctx.Err() != nil {
			return err
		}
		fmt.Printf("no machine with %s\n", strings.Join(p, " "))
	}
	return err
}

// starts is how often a machine is started that stops as it boots.
const starts = 3

// silence is how long a machine may take to its first word.
const silence = 60 * time.Second

func bootOn(ctx context.Context, processor []string, k kernel, initrd string, r *report) error {
	args := []string{"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-smp", "2", "-m", "1536",
		"-kernel", k.image(), "-initrd", initrd,
		"-append", "console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off " + cmdlineMark}
	args = append(args, processor...)
	for n, card := range cards {
		args = append(args, "-netdev", fmt.Sprintf("hubport,id=n%d,hubid=0", n),
			"-device", fmt.Sprintf("%s,netdev=n%d,mac=52:54:00:00:00:%02x,romfile=", card, n, n+1))
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	var said bytes.Buffer
	speaks := &firstWord{to: r, dead: time.AfterFunc(silence, func() { _ = cmd.Cancel() })}
	defer speaks.dead.Stop()
	cmd.Stdout, cmd.Stderr = speaks, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("qemu: %w\n%s", err, said.Bytes())
	}
	return nil
}

// firstWord stops a clock with the first thing that is written to it.
type firstWord struct {
	to   io.Writer
	dead *time.Timer
}

func (f *firstWord) Write(b []byte) (int, error) {
	f.dead.Stop()
	return f.to.Write(b)
}

// cmdlineMark tells the tests that they run in such a machine; see
// testnet.Machine.
const cmdlineMark = "osl.testmachine"

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
