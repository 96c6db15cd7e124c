package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/check"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/shell"
)

func (a *app) upCommand() *cobra.Command {
	var noCheck, files bool
	cmd := &cobra.Command{
		Use:   "up FILE…",
		Short: "Build the network of a file, and run its checks",
		Long: `Build the network of a file, all of it or nothing, and run its checks. What is
there already is left alone. Several files are one network. FILE may be - for
standard input, or a containerlab topology whose nodes are of kind linux and
bridge: what its exec lines say about the network becomes part of it; others
are run in the sandboxes that were made.`,
		Example: "  osl up examples/quickstart.yaml",
		Args:    atLeast(1, "FILE…"), Annotations: kernel,
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.up(cmd.Context(), args, noCheck, files)
		},
	}
	cmd.Flags().BoolVar(&noCheck, "no-check", false, "do not run the checks")
	cmd.Flags().BoolVar(&files, "exec-all", false, "of a containerlab topology, also run the commands that may change this machine's files")
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) downCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "down FILE…|NETWORK",
		Short: "Take the network of a file, or of that name, down",
		Long: `Take a network down: the sandboxes of the files, and all others that carry the
network's name. The name is enough: osl ls shows it. From a namespace that
another program made, osl takes out what it put in; the namespace stays unless
--force is given.`,
		Args: atLeast(1, "FILE… or NETWORK"), Annotations: kernel,
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				named, err := a.isNetwork(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if named {
					return a.takeDown(cmd.Context(), osl.Network{Name: args[0]}, force)
				}
			}
			f, err := a.network(args)
			if err != nil {
				return err
			}
			return f.About(a.takeDown(cmd.Context(), f.Network, force))
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "end namespaces that osl did not make, too")
	a.dryRunFlag(cmd)
	return cmd
}

// isNetwork reports whether what is to be taken down is the name of a network
// that stands, and no file.
func (a *app) isNetwork(ctx context.Context, arg string) (bool, error) {
	// A directory is no file: beside lab.yaml there may be one that is called lab.
	if info, err := os.Stat(arg); err == nil && !info.IsDir() || arg == "-" || strings.Contains(arg, "/") {
		return false, nil
	}
	entries, err := osl.List(ctx)
	var names []string
	for _, e := range entries {
		names = append(names, e.Network)
	}
	if slices.Contains(names, arg) || err != nil {
		return err == nil, err
	}
	// Its sandboxes may be gone, and what it made on the host still there.
	if left, err := osl.DiffDown(ctx, osl.Network{Name: arg}); err == nil && len(left) > 0 {
		return true, nil
	}
	if !a.dryRun {
		// Who ended them without osl left the file of its locks, which goes with that.
		_, _ = osl.Down(ctx, osl.Network{Name: arg})
	}
	for _, e := range entries {
		if e.Name == arg {
			of := ""
			if e.Network != "" {
				of = fmt.Sprintf(" of the network %q, which osl down %s takes down", e.Network, shell.Quote(e.Network))
			}
			return false, fmt.Errorf("there is neither a file nor a network %q, but a sandbox%s; osl rm %s removes it alone", arg, of, shell.Quote(arg))
		}
	}
	return false, fmt.Errorf("there is neither a file nor a network %q: osl ls shows the networks that stand%s", arg, near.Hint(arg, names))
}

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE…",
		Short: "Show what up would change",
		Long:  "Show what up would change, as ip commands. Exits with 3 if there is anything.",
		Args:  atLeast(1, "FILE…"), Annotations: kernel,
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.network(args)
			if err != nil {
				return err
			}
			changes, err := osl.Diff(cmd.Context(), f.Network)
			if err != nil {
				return f.About(err)
			}
			if err := a.plan(changes); err != nil || len(changes) == 0 {
				return err
			}
			return exitError{code: exitDiffer}
		},
	}
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE…",
		Short: "Run the checks of a file on a network that is up",
		Args:  atLeast(1, "FILE…"), Annotations: kernel,
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.network(args)
			if err != nil {
				return err
			}
			if err := isUp(f, args); err != nil {
				return err
			}
			if len(f.Checks) == 0 {
				a.note("there are no checks in %s", strings.Join(args, ", "))
			}
			results := a.runChecks(cmd.Context(), f.Checks)
			err = a.print(results, func(w io.Writer) { checkTable(w, results) })
			return errors.Join(err, verdict(cmd.Context(), results, "see what is there with: osl diff "+quoted(args)), foreign(cmd.Context(), f.Checks, results))
		},
	}
}

// network reads and validates the files of a network.
func (a *app) network(paths []string) (*netfile.File, error) {
	f, err := netfile.ReadAll(a.stdin, paths...)
	if err != nil {
		return nil, usageError{err}
	}
	var bad *check.Invalid
	if err := check.ValidateFile(f.Network); errors.As(err, &bad) {
		return nil, usageError{f.Problem(bad.Path(), "%s", bad.Text)}
	}
	for _, s := range f.Sandboxes {
		a.wantsIn = a.wantsIn || slices.ContainsFunc(s.Interfaces, fromHost)
	}
	return f, nil
}

// fromHost reports whether an interface needs a link that the host has.
func fromHost(s osl.InterfaceSpec) bool {
	return s.Source != "" || strings.HasPrefix(s.Parent, osl.HostName+"/")
}

func (a *app) up(ctx context.Context, paths []string, noCheck, files bool) error {
	f, err := a.network(paths)
	if err != nil {
		return err
	}
	a.passedOver(f)
	if a.dryRun {
		changes, err := osl.Diff(ctx, f.Network)
		if err != nil {
			return f.About(err)
		}
		return a.plan(changes)
	}
	changes, err := osl.Apply(ctx, f.Network)
	if err != nil {
		return f.About(err)
	}
	failed := a.runCommands(ctx, f, named(changes, osl.ChangeMake), files)
	for _, c := range changes {
		slog.Debug("changed", "sandbox", c.Sandbox, "command", c.Command)
	}
	done := struct {
		Changes osl.Changes    `json:"changes"`
		Checks  []check.Result `json:"checks"`
	}{list(changes), []check.Result{}}
	if !noCheck {
		done.Checks = a.runChecks(ctx, f.Checks)
	}
	err = a.print(done, func(w io.Writer) {
		summary(w, changes)
		if len(done.Checks) > 0 {
			fmt.Fprintln(w)
			checkTable(w, done.Checks)
		}
	})
	down := "osl down " + quoted(paths)
	if slices.Contains(paths, "-") {
		down = "osl down FILE, or osl rm NAME…"
	}
	return errors.Join(err, failed, verdict(ctx, done.Checks, "the network stays up; take it down with: "+down), foreign(ctx, f.Checks, done.Checks))
}

// summary says in a line what was done, and shows the commands where they are
// few and nothing was built: then somebody wants to know what was mended.
func summary(w io.Writer, changes osl.Changes) {
	if len(changes) == 0 {
		fmt.Fprintln(w, "nothing to change")
		return
	}
	var whole []string // sandboxes
	added, gone := named(changes, osl.ChangeMake), named(changes, osl.ChangeRemove)
	for _, x := range []struct {
		verb  string
		names []string
	}{{"created", added}, {"removed", gone}} {
		if len(x.names) > 0 {
			whole = append(whole, fmt.Sprintf("%s %s (%s)", x.verb, count(len(x.names), "sandbox", "sandboxes"), some(x.names)))
		}
	}
	if len(whole) == 0 {
		whole = []string{"made"}
	}
	head := strings.Join(whole, ", ")
	if head != "made" {
		head += ":"
	}
	fmt.Fprintf(w, "%s %s", head, count(len(changes), "change", "changes"))
	if len(added) > 0 {
		fmt.Fprintln(w)
		return
	}
	fmt.Fprintln(w, ":")
	for i, c := range changes {
		if i == 20 {
			fmt.Fprintf(w, "  … and %d more\n", len(changes)-i)
			break
		}
		fmt.Fprintln(w, "  "+c.Command)
	}
}

// named returns the sandboxes that have a change of this kind.
func named(changes osl.Changes, kind osl.ChangeKind) []string {
	var names []string
	for _, c := range changes {
		if c.Kind == kind {
			names = append(names, c.Sandbox)
		}
	}
	return names
}

// some names the first few, and says how many more there are.
func some(names []string) string {
	const few = 5
	if len(names) <= few+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// takeDown takes a network down and says so.
func (a *app) takeDown(ctx context.Context, n osl.Network, force bool) error {
	act := osl.Down
	if a.dryRun {
		act = osl.DiffDown
	}
	var options []osl.RemoveOption
	if force {
		options = append(options, osl.WithForce())
	}
	changes, err := act(ctx, n, options...)
	if err != nil {
		return err
	}
	if a.dryRun {
		return a.plan(changes)
	}
	return a.print(struct {
		Changes osl.Changes `json:"changes"`
	}{list(changes)}, func(w io.Writer) {
		gone := named(changes, osl.ChangeRemove)
		left := leftAlone(w, changes, gone, force)
		switch {
		case len(changes) == 0:
			fmt.Fprintln(w, "nothing to take down")
		case len(gone) == 0 && left:
		case len(gone) == 0:
			summary(w, changes)
		default:
			fmt.Fprintf(w, "removed %s (%s)\n", count(len(gone), "sandbox", "sandboxes"), some(gone))
		}
	})
}

// leftAlone says of the namespaces that stay what was taken out of them, and
// reports whether there are any.
func leftAlone(w io.Writer, changes osl.Changes, gone []string, force bool) (some bool) {
	var names []string
	for _, name := range named(changes, osl.ChangeLeave) {
		if !slices.Contains(gone, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		var links []string
		steps := 0
		for _, c := range changes {
			if c.Sandbox != name || c.Kind != osl.ChangeLeave || strings.HasPrefix(c.Command, "#") {
				continue
			}
			steps++
			if c.Interface != "" && c.Interface != "lo" && !slices.Contains(links, c.Interface) {
				links = append(links, c.Interface)
			}
		}
		done := "took out " + strings.Join(links, ", ")
		switch {
		case steps == 0:
			done = "there was nothing of osl's"
		case len(links) == 0:
			done = "took out what osl had put in"
		}
		how := " (osl rm --force ends it)"
		if force || strings.HasPrefix(name, "/proc/") {
			how = "" // it is the host's own, or ends with its process
		}
		fmt.Fprintf(w, "%s: %s; the namespace is not osl's and stays%s\n", name, done, how)
	}
	return len(names) > 0
}
