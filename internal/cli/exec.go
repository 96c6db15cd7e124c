package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
)

// Where the command could not be started, as in a shell.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

func (a *app) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NAME -- COMMAND...",
		Short: "Run a command inside a sandbox",
		Long: `Run a command inside a sandbox, or with the name host beside them where osl
works, which without root is a namespace of the user's own; and exit with its
exit code: 128 and the signal's number if a signal ended it, 127 if there is no
such command, 126 if it can not be run. As root osl becomes the command; a
signal that ends it ends osl. Without, osl waits for it, and passes SIGTERM,
SIGHUP, SIGUSR1 and SIGUSR2 on.

As with ip netns exec, /sys shows the sandbox's network, and the files of
/etc/netns/NAME are over those of /etc, in a mount namespace of the command's
own: what it mounts, such as a sandbox that it makes, ends with it. With the
name host it has the mounts that osl has.`,
		Example: "  osl exec web -- ip -brief address",
		Args:    atLeast(2, "NAME -- COMMAND"), Annotations: keepSignals,
		ValidArgsFunction: a.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			argv := commandOf(args)
			if len(argv) == 0 {
				return usagef("osl exec needs a command after --")
			}
			ctx := cmd.Context()
			if args[0] == osl.HostName {
				return a.exec(ctx, exec.CommandContext(ctx, argv[0], argv[1:]...))
			}
			return with(ctx, args[0], func(ns *osl.Namespace) error {
				c := ns.CommandWithMounts(ctx, argv[0], argv[1:]...)
				if errors.Is(c.Err, osl.ErrPermission) { // it may not mount
					c = ns.Command(ctx, argv[0], argv[1:]...)
				}
				return a.exec(ctx, c)
			})
		},
	}
	// What stands after NAME is the command's, flags too.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// commandOf is what stands after NAME, and after the -- that may follow it.
func commandOf(args []string) []string {
	if args[1] == "--" {
		return args[2:]
	}
	return args[1:]
}

func (a *app) exec(ctx context.Context, c *exec.Cmd) error {
	c.Stdin, c.Stdout, c.Stderr = a.stdin, a.stdout, a.stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second

	// A terminal sends SIGINT and SIGQUIT to the command as well, which may
	// want to go on; the others reach osl only.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	if err := c.Start(); err != nil {
		if e := (*osl.Error)(nil); errors.As(err, &e) {
			return err
		}
		return notStarted(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.Wait() }()
	for {
		select {
		case s := <-signals:
			if s != os.Interrupt && s != syscall.SIGQUIT {
				// It may have ended this moment.
				_ = c.Process.Signal(s)
			}
		case err := <-waited:
			return passedThrough(ctx, err)
		}
	}
}

func notStarted(err error) error {
	code := exitFailed
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		code = exitNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EISDIR):
		code = exitNotExecutable
	}
	return exitError{code, err.Error()}
}

// passedThrough turns what Wait returned into the exit code of the command.
func passedThrough(ctx context.Context, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	text := ""
	if ctx.Err() != nil {
		text = "the command was ended: " + ctx.Err().Error()
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exitError{128 + int(ws.Signal()), text}
	}
	return exitError{exit.ExitCode(), text}
}
