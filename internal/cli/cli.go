// Package cli is the osl command. Run runs it whole, so that its tests need
// no process of their own.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/rootless"
)

// The exit codes. exec passes its command's own through.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitDiffer = 3
)

// app is one run of the command.
type app struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	session        *rootless.Session

	output  string
	base    string
	verbose bool
	dryRun  bool
	timeout time.Duration

	begun   bool // the command line was understood
	verb    string
	ended   atomic.Int32 // the signal that was to end it, 0 for none
	ends    []func()
	wantsIn bool // links of the host were asked for
}

// Run runs the command with the arguments after its name, and returns its exit
// code.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if slices.Equal(args, []string{rootless.HolderVerb}) {
		return rootless.Hold()
	}
	a := &app{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	var err error
	if a.session, err = rootless.Resume(); err != nil {
		return a.report(err)
	}
	root := a.rootCommand()
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	for _, end := range slices.Backward(a.ends) {
		end()
	}
	code := a.report(err)
	if err := a.session.Leave(); err != nil {
		return max(code, a.report(err))
	}
	return code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "osl",
		Short: "Private network stacks: build, look into, and take down",
		Long: `osl builds networks of sandboxes (network namespaces) from a file, all or
nothing, and keeps no state beside the kernel's own.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 (diff) there are differences,
130, 143 or 129 interrupted (SIGINT, SIGTERM, SIGHUP).`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: a.begin,
		// In cobra's own words: a template of ours would link text/template, and with it all
		// methods that there are, a fifth of the program and of what it takes to start.
		Version: version(),
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout) // completion writes to what it is when it is added
	root.SetErr(a.stderr)
	f := root.PersistentFlags()
	f.StringVarP(&a.output, "output", "o", "table", "format of the output: table, json or yaml")
	f.StringVar(&a.base, "base", defaultBase(), "base path: sandboxes are at PATH/netns/NAME (also $"+rootless.BaseEnv+")")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log what is done to standard error")
	f.DurationVar(&a.timeout, "timeout", 0, "give up, and undo, after this time, such as 30s; 0 is never")
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	root.SetFlagErrorFunc(wrongFlag)
	root.AddCommand(
		a.upCommand(), a.downCommand(), a.diffCommand(), a.checkCommand(),
		a.createCommand(), a.rmCommand(), a.lsCommand(), a.inspectCommand(),
		a.execCommand(), a.linkCommand(), a.recoverCommand(),
		a.exportCommand(), a.importCommand(), a.ociCommand(), a.schemaCommand(), a.versionCommand(),
	)
	// Those which cobra adds of itself show help for what there is not, and succeed.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				cmd, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 { // of the verbs of a verb cobra finds the first
					err = wrongVerb(cmd, rest[0])
				}
				return err
			}
		case "completion":
			verbsOnly(c)
		}
		c.SuggestFor = called[c.Name()]
	}
	return root
}

// called are what other programs call the verbs.
var called = map[string][]string{
	"up": {"apply", "start", "deploy", "run"}, "down": {"stop", "destroy", "teardown"}, "diff": {"plan", "status", "validate"}, "check": {"test"},
	"create": {"add", "new"}, "rm": {"del", "delete", "remove"}, "inspect": {"show", "describe", "get"}, "exec": {"enter", "shell", "sh"},
	"ls": {"ps"}, "recover": {"repair", "clean", "cleanup", "prune"}, "export": {"save", "dump"}, "import": {"convert"},
}

// kernel marks the verbs that work on the kernel: they need rights, or
// namespaces of the user's own. keepSignals marks those which look after
// signals themselves, keepUser those which look themselves for where their rights are.
var (
	kernel      = map[string]string{"kernel": "yes"}
	keepSignals = map[string]string{"kernel": "yes", "signals": "own"}
	keepUser    = map[string]string{"kernel": "yes", "user": "own"}
)

// begin runs before every verb, once its command line was understood.
func (a *app) begin(cmd *cobra.Command, _ []string) error {
	if !slices.Contains(formats, a.output) {
		return usagef("-o %s: there are table, json and yaml", a.output)
	}
	if a.timeout < 0 {
		return usagef("--timeout %v is negative", a.timeout)
	}
	if a.base == "" {
		return usagef("--base is empty: it is the path below which sandboxes are, such as /run")
	}
	a.begun = true
	a.verb = strings.TrimPrefix(cmd.CommandPath(), "osl ")
	if cmd.Annotations["kernel"] == "" {
		return nil
	}
	if a.session == nil && cmd.Annotations["user"] == "" && rootless.Needed() {
		return rootless.Enter(a.args)
	}
	a.logTo()
	path, err := filepath.Abs(a.base)
	if err != nil {
		return fmt.Errorf("--base %s: %w", a.base, err)
	}
	osl.SetBasePath(path)
	a.reach(path)
	slog.Debug("begin", "verb", cmd.CommandPath(), "base", path, "rootless", a.session != nil)
	ctx := cmd.Context()
	if cmd.Annotations["signals"] == "" {
		ctx = a.interruptible(ctx)
	}
	if a.timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, a.timeout)
		a.ends = append(a.ends, cancel)
	}
	cmd.SetContext(ctx)
	return nil
}

// logTo sends the log of the library to standard error: all of it with -v,
// otherwise only what somebody should know.
func (a *app) logTo() {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	before := slog.Default()
	a.ends = append(a.ends, func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})))
}

func defaultBase() string {
	if path := os.Getenv(rootless.BaseEnv); path != "" {
		return path
	}
	return base.Default()
}

// usageError is an error of the one who typed, not of the system.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError is an exit code of its own. Its text may be empty.
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

// must is for what can only be wrong in the program itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
