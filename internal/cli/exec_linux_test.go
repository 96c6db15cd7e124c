package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

func TestExec(t *testing.T) {
	want(t, exitDone, nil, "create", "a")
	defer runOSL(t, "rm", "a")
	want(t, 128+9, nil, "exec", "a", "--", "sh", "-c", "kill -9 $$")
	want(t, 126, []string{"permission denied"}, "exec", "a", "/etc/passwd")
	want(t, 126, []string{"is a directory"}, "exec", "a", "/tmp")
	want(t, exitDone, []string{"lo "}, "exec", "a", "ip", "-brief", "link") // its own flags, without --
	want(t, 128+15, []string{"deadline"}, "exec", "--timeout", "200ms", "a", "sleep", "60")
	if out := want(t, exitDone, nil, "exec", "a", "--", "readlink", "/proc/self/ns/net"); out == sh(t, "readlink /proc/self/ns/net") {
		t.Error("the command runs on the host")
	}
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"exec", "a", "cat"}, strings.NewReader("word"), &out, &out); code != exitDone || out.String() != "word" {
		t.Errorf("standard input: exit code %d, %q", code, out.String())
	}
}

func TestExecPassesSignalsOn(t *testing.T) {
	want(t, exitDone, nil, "create", "a")
	defer runOSL(t, "rm", "a")
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		// With a flag before it osl stays, as it does without root.
		c := exec.CommandContext(ctx, self(t), "--base=/run", "exec", "a", "--", "sh", "-c", fmt.Sprintf("trap 'exit 42' %d; echo ready; while :; do sleep 0.05; done", signal))
		c.Env = append(os.Environ(), asCommand+"=1")
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); c.ProcessState.ExitCode() != 42 {
			t.Errorf("%v: %v", signal, err)
		}
	}
}

func TestInterruptedUp(t *testing.T) {
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		interruptedUp(t, signal, code, exec.Command(self(t), "up"), "1m")
	}
	// Under nohup it comes to its end, where the check fails.
	interruptedUp(t, syscall.SIGHUP, exitFailed, exec.Command("sh", "-c", `trap "" HUP; exec "$@"`, "sh", self(t), "up"), "1s")
}

func interruptedUp(t *testing.T, signal syscall.Signal, code int, c *exec.Cmd, timeout string) {
	defer runOSL(t, "rm", "--force", "b")
	file := netFile(t, "sandboxes: [{name: b}]\nchecks: [{from: b, tcp: \"127.0.0.1:9\", timeout: "+timeout+"}]\n")
	begin := time.Now()
	c.Args = append(c.Args, file)
	c.Env = append(os.Environ(), asCommand+"=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() []string {
		if _, err := os.Stat("/run/netns/b"); err != nil {
			return []string{err.Error()}
		}
		return nil
	})
	if err := c.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != code || time.Since(begin) > 30*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begin))
	}
}

// Who interrupts the checks of a network has it, and is told so.
func TestInterruptedChecks(t *testing.T) {
	file := netFile(t, "sandboxes: [{name: b}]\nchecks: [{from: b, udp: \"127.0.0.1:9\", timeout: 1m}]\n")
	defer runOSL(t, "down", file)
	want(t, exitDone, nil, "up", "--no-check", file)
	ns, err := osl.Open(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for verb, says := range map[string]string{"up": "the network stays up; take it down with: osl down", "check": "see what is there with: osl diff"} {
		silent, err := ns.ListenPacket(t.Context(), "udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		c := exec.Command(self(t), verb, file)
		c.Env, c.Stderr = append(os.Environ(), asCommand+"=1"), &errs
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := silent.ReadFrom(make([]byte, 100)); err != nil { // the check has begun
			t.Fatal(err)
		}
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		text := "osl: " + verb + ": interrupted (SIGINT): the checks were not tried to their end; " + says
		if err := c.Wait(); c.ProcessState.ExitCode() != 130 || !strings.Contains(errs.String(), text) || strings.Contains(errs.String(), "nothing was changed") {
			t.Errorf("%v: %s", err, errs.String())
		}
		if err := silent.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
