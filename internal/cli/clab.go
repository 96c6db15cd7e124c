package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
)

func (a *app) importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Write the network file that says what a containerlab topology does",
		Long: `Write to standard output the network file that says what a containerlab
topology does, whose nodes are of kind linux and bridge. What can not be said in
it, and the commands that are no part of a network, are comments in it,
which with -o json go to standard error. Of several files it writes one.`,
		Example:           "  osl import lab.clab.yml > lab.yaml",
		Args:              atLeast(1, "FILE"),
		ValidArgsFunction: completeFile,
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := a.network(args)
			if err != nil {
				return err
			}
			return a.printFile(f, nil)
		},
	}
}

// passedOver tells what of the files osl passes over.
func (a *app) passedOver(f *netfile.File) {
	for _, n := range f.Notes {
		a.note("%v", n)
	}
}

// patience is how long a command of a topology may take: one that does not end by
// itself would have to be in the background.
const patience = time.Minute

// runCommands runs the commands of the sandboxes that were made, in their order. Those
// that may do more than change the network are run with files only. They are no part
// of what is all or nothing: what fails is told.
func (a *app) runCommands(ctx context.Context, f *netfile.File, made []string, files bool) error {
	var failed []error
	left, lines := 0, 0
	for i, c := range f.Commands {
		switch {
		case !slices.Contains(made, c.Sandbox):
			continue
		case c.Args[0] == "sleep" && !files:
			continue // for a program that is not run
		case c.Files && !files:
			left++
			same := func(o netfile.Command) bool {
				return o.Place == c.Place && slices.Equal(o.Args, c.Args) && slices.Contains(made, o.Sandbox)
			}
			if slices.ContainsFunc(f.Commands[:i], same) {
				continue // told with the first of them, of which each node has one
			}
			if lines++; lines <= 10 {
				var in []string
				for _, o := range f.Commands {
					if same(o) {
						in = append(in, o.Sandbox)
					}
				}
				a.note("%s: not run in %s, since it may change this machine's files: %s", c.Place, some(in), quoted(c.Args))
			}
			continue
		}
		err := with(ctx, c.Sandbox, func(ns *osl.Namespace) error { return runCommand(ctx, ns, c.Args) })
		slog.Debug("ran", "sandbox", c.Sandbox, "command", quoted(c.Args), "error", err)
		if err != nil && !c.MayFail {
			failed = append(failed, fmt.Errorf("%s: in %s, %s: %w", c.Place, c.Sandbox, quoted(c.Args), err))
		}
	}
	if left > 0 {
		a.note("%s not run; --exec-all runs them, which is for machines that nobody minds", count(left, "command was", "commands were"))
	}
	if len(failed) == 0 {
		return nil
	}
	return errors.Join(append([]error{fmt.Errorf("%s failed; the network stays up", count(len(failed), "command", "commands"))}, failed...)...)
}

func runCommand(ctx context.Context, ns *osl.Namespace, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := ns.Command(ctx, args[0], args[1:]...)
	var out bytes.Buffer
	c.Stderr = &out
	c.WaitDelay = time.Second // what it left in the background may hold its output
	err := c.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if text := strings.TrimSpace(out.String()); err != nil && text != "" {
		first, _, _ := strings.Cut(text, "\n")
		return fmt.Errorf("%w: %s", err, first)
	}
	return err
}
