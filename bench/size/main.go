//go:build linux

// How the osl command does with networks of many sandboxes, beside ip -batch that
// makes the same links, addresses and all: a ring in which each sandbox has two
// links. It runs as root, in network and mount namespaces of its own.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/bench/busy"
)

const inside = "OSL_BENCH_SIZE"

func main() {
	sizes := flag.String("sizes", "10,100,1000,3000", "numbers of sandboxes")
	loops := flag.Int("loops", 0, "measure beside this `number` of busy loops")
	runs := flag.Int("runs", 3, "how often each is measured; the median is shown")
	out := flag.String("out", "", "write the table to this `file` as well")
	flag.Parse()
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	stop, err := busy.Loops(*loops)
	if err == nil {
		err = run(*sizes, *runs, *loops, *out)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

// again runs this in namespaces of its own, with the command built before.
func again() int {
	dir, err := os.MkdirTemp("", "osl-size")
	if err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "osl"), "./cmd/osl")
	build.Dir, build.Stderr = "..", os.Stderr
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0") // as the README installs it
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "size: build osl:", err)
		return 1
	}
	commit, _ := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output() // none outside of a checkout
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+dir+" "+strings.TrimSpace(string(commit)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		return 1
	}
	return 0
}

// measured is what one command took.
type measured struct {
	took time.Duration
	peak int64 // KiB
}

func run(sizes string, runs, loops int, out string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	dir, commit, _ := strings.Cut(os.Getenv(inside), " ")
	var b bytes.Buffer
	fmt.Fprintf(&b, "Commit `%s`; `go run -C bench ./size`, median of %d", commit, runs)
	if loops > 0 {
		fmt.Fprintf(&b, ", beside %d busy loops", loops)
	}
	fmt.Fprint(&b, ".\n\n")
	fmt.Fprintln(&b, "| sandboxes, two links each | up | second up | diff | failed up | down | peak memory of up | `ip -batch` making the same | osl up / ip |")
	fmt.Fprintln(&b, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, text := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		row, err := measure(dir, n, runs)
		if err != nil {
			return fmt.Errorf("%d sandboxes: %w", n, err)
		}
		fmt.Fprintln(&b, row)
		fmt.Println(row)
	}
	row, err := neighbours(dir, 20000, runs)
	if err != nil {
		return err
	}
	fmt.Fprint(&b, "\n", row, "\n")
	var rows []string
	if loops == 0 {
		if rows, err = execRows(dir, 200); err != nil {
			return err
		}
		fmt.Fprintln(&b, "\n| busy loops beside it | `osl exec NAME -- true` | `ip netns exec NAME true` | osl / ip |")
		fmt.Fprintln(&b, "| ---: | ---: | ---: | ---: |")
	}
	for _, row := range rows {
		fmt.Fprintln(&b, row)
	}
	if out != "" {
		return os.WriteFile(out, b.Bytes(), 0o644)
	}
	_, err = os.Stdout.Write(b.Bytes())
	return err
}

func measure(dir string, n, runs int) (row string, err error) {
	good, bad, batch := filepath.Join(dir, "ring.yaml"), filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "batch")
	for file, text := range map[string]string{good: ring(n, ""), batch: commands(n),
		bad: ring(n, "  - {name: zz, routes: [{to: 172.16.0.0/12, via: 10.255.255.1}]}\n")} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	names := []string{"up", "again", "diff", "failed", "down", "ip"}
	took := map[string][]time.Duration{}
	var peak int64
	osl := filepath.Join(dir, "osl")
	for range runs {
		for _, x := range []struct {
			name string
			args []string
			code int
		}{
			{"up", []string{osl, "up", good}, 0}, {"again", []string{osl, "up", good}, 0}, {"diff", []string{osl, "diff", good}, 0},
			{"down", []string{osl, "down", good}, 0}, {"failed", []string{osl, "up", bad}, 1}, {"ip", []string{"sh", batch}, 0},
		} {
			m, err := command(x.code, x.args...)
			if err != nil {
				return "", err
			}
			took[x.name] = append(took[x.name], m.took)
			if x.name == "up" {
				peak = max(peak, m.peak)
			}
			if x.name == "failed" || x.name == "down" {
				if left, _ := os.ReadDir("/run/netns"); len(left) > 0 {
					return "", fmt.Errorf("%s leaves %d sandboxes", x.name, len(left))
				}
			}
		}
		if _, err := command(0, "sh", "-c", "ip -all netns delete"); err != nil {
			return "", err
		}
		time.Sleep(time.Second) // the kernel ends namespaces in the background
	}
	row = fmt.Sprintf("| %d |", n)
	median := func(name string) time.Duration {
		slices.Sort(took[name])
		return took[name][len(took[name])/2]
	}
	for _, name := range names[:5] {
		row += fmt.Sprintf(" %d ms |", median(name).Milliseconds())
	}
	return row + fmt.Sprintf(" %.1f MB | %d ms | %.2f |", float64(peak)/1024, median("ip").Milliseconds(),
		float64(median("up"))/float64(median("ip"))), nil
}

// neighbours is how long a file with many neighbours takes.
func neighbours(dir string, n, runs int) (row string, err error) {
	var text strings.Builder
	text.WriteString("sandboxes:\n  - name: n\n    interfaces: [{name: eth0, peer: host/n0, addresses: [10.0.0.1/8]}]\n    neighbors:\n")
	for i := range n {
		fmt.Fprintf(&text, "      - {ip: 10.1.%d.%d, mac: '02:00:00:00:%02x:%02x', dev: eth0}\n", i>>8, i&255, i>>8, i&255)
	}
	file, osl := filepath.Join(dir, "many.yaml"), filepath.Join(dir, "osl")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return "", err
	}
	var took [3][]time.Duration
	for range runs {
		for i, verb := range []string{"up", "diff", "down"} {
			m, err := command(0, osl, verb, file)
			if err != nil {
				return "", err
			}
			took[i] = append(took[i], m.took)
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return fmt.Sprintf("%d neighbours in a file: up %d ms, diff %d ms.", n, took[0][runs/2].Milliseconds(), took[1][runs/2].Milliseconds()), nil
}

// command runs a command that is to end with a code.
func command(code int, args ...string) (measured, error) {
	cmd := exec.Command(args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	begun := time.Now()
	err := cmd.Run()
	took := time.Since(begun)
	if got := cmd.ProcessState.ExitCode(); got != code {
		return measured{}, fmt.Errorf("%s ends with %d (%v): %.500s", strings.Join(args, " "), got, err, said.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return measured{}, fmt.Errorf("the system does not say what %s used", args[0])
	}
	return measured{took, usage.Maxrss}, nil
}

// ring is a network file: each sandbox is linked to the next, the last to the
// first.
func ring(n int, more string) string {
	var b strings.Builder
	b.WriteString("sandboxes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: s%d, interfaces: [{name: eth0, addresses: [%s]}, {name: eth1, addresses: [%s]}]}\n", i, address(i, 1), address(i+1, 2))
	}
	b.WriteString(more + "links:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - [s%d/eth1, s%d/eth0]\n", i, (i+1)%n)
	}
	return b.String()
}

func address(net, host int) string { return fmt.Sprintf("10.%d.%d.%d/30", net>>6, net<<2&255, host) }

// commands are those of ip that make the same: namespaces first, and then all in
// each of them.
func commands(n int) string {
	var b strings.Builder
	b.WriteString("set -e\nip -batch - <<E\n")
	for i := range n {
		fmt.Fprintf(&b, "netns add s%d\n", i)
	}
	for i := range n {
		fmt.Fprintf(&b, "link add name eth1 netns s%d type veth peer name eth0 netns s%d\n", i, (i+1)%n)
	}
	b.WriteString("E\n")
	for i := range n {
		fmt.Fprintf(&b, "ip -n s%d -batch - <<E\nlink set lo up\naddr add %s dev eth0\naddr add %s dev eth1\nlink set dev eth0 up\nlink set dev eth1 up\nE\n", i, address(i, 1), address(i+1, 2))
	}
	return b.String()
}
