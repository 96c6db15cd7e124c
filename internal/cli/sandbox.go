package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/base"
)

func (a *app) createCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create sandboxes",
		Long: `Create sandboxes, all of them or none. A name stands for a key in the base
path; a path with a slash is the key itself.`,
		Args: atLeast(1, "NAME"), Annotations: kernel,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.create(cmd.Context(), args)
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) create(ctx context.Context, names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return usagef("create %s: it is given twice", name)
		}
	}
	if a.dryRun {
		return a.planCreate(ctx, names)
	}
	var made []*osl.Namespace
	dir := base.Path()
	// By the first of them else, and it would stay where another one fails. Where it can
	// not be made, that one says so.
	outermost, _ := base.Make(dir)
	for _, name := range names {
		ns, err := osl.Create(ctx, name)
		if err != nil {
			for _, m := range made {
				err = errors.Join(err, m.Destroy())
			}
			if outermost != "" {
				base.Unmake(dir, outermost)
			}
			return err
		}
		made = append(made, ns)
	}
	type entry struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	}
	entries := []entry{}
	for i, ns := range made {
		entries = append(entries, entry{names[i], ns.Key()})
		if err := ns.Close(); err != nil {
			return err
		}
	}
	return a.print(entries, func(w io.Writer) {
		for _, e := range entries {
			fmt.Fprintf(w, "created %s (%s)\n", e.Name, e.Key)
		}
	})
}

func (a *app) planCreate(ctx context.Context, names []string) error {
	for _, name := range names {
		if there, err := exists(name); err != nil || there {
			return errors.Join(err, osErr(there, name))
		}
	}
	changes, err := osl.Diff(ctx, sandboxes(names))
	if err != nil {
		return err
	}
	return a.plan(changes)
}

func osErr(there bool, name string) error {
	if !there {
		return nil
	}
	return fmt.Errorf("create %s: %w", name, osl.ErrExists)
}

// sandboxes returns a network of empty sandboxes.
func sandboxes(names []string) osl.Network {
	var n osl.Network
	for _, name := range names {
		n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: name})
	}
	return n
}

// exists reports whether anything is at the key.
func exists(name string) (bool, error) {
	key, err := osl.KeyPath(name)
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (a *app) rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove sandboxes; what came from the host goes home",
		Long: `Remove sandboxes; what came from the host goes home first. From a namespace
that another program made, osl takes out what it put in; the namespace stays at
its key unless --force is given.`,
		Args: atLeast(1, "NAME"), Annotations: kernel,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				there, err := exists(name)
				if err != nil {
					return err
				}
				if !there && !force {
					return fmt.Errorf("rm %s: %w; nothing was removed (--force passes over it)%s", name, osl.ErrNotFound, sandboxMeant(name))
				}
			}
			return a.takeDown(cmd.Context(), sandboxes(args), force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "pass over sandboxes that do not exist, and end namespaces that osl did not make")
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the sandboxes of the base path",
		Args:    exactly(0, ""), Annotations: kernel,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries, err := osl.List(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list(entries), func(w io.Writer) {
				var rows [][]string
				slices.SortStableFunc(entries, func(a, b osl.Entry) int { return strings.Compare(a.Network, b.Network) })
				for _, e := range entries {
					rows = append(rows, []string{e.Network, e.Name, maker(e.Made), fmt.Sprint(e.Interfaces), labels(e.Labels), e.Problem})
				}
				columns(w, "NETWORK NAME MADE-BY INTERFACES LABELS PROBLEM", rows)
			})
		},
	}
}

func maker(made bool) string {
	if made {
		return "osl"
	}
	return "other"
}

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recover [NAME...]",
		Short: "Put right what a killed process left behind",
		Long: `Put right what a killed process left behind in the named sandboxes, or in all
of the base path and on the host: links go home, changes that were under way
are undone. A physical device that came home by itself, since its namespace
ended, gets its own name back.`,
		Args:        cobra.ArbitraryArgs,
		Annotations: kernel, ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			all := len(names) == 0
			if all {
				entries, err := osl.List(cmd.Context())
				if err != nil {
					return err
				}
				for _, e := range entries {
					names = append(names, e.Name)
				}
			}
			var errs []error
			var stand, gone []string
			there := map[string]bool{}
			for _, name := range names {
				there[name] = stands(name)
			}
			for _, name := range names {
				switch err := osl.Recover(cmd.Context(), name); {
				case errors.Is(err, osl.ErrNotFound) && there[name]:
					gone = append(gone, name) // with another, as a part of one change
				case err != nil:
					errs = append(errs, err)
				case stands(name):
					stand = append(stand, name)
				default:
					gone = append(gone, name)
				}
			}
			if all {
				errs = append(errs, osl.RecoverHost(cmd.Context()))
			}
			// What was done is said, also where one of them could not be helped.
			errs = append(errs, a.print(struct {
				Stand   []string `json:"stand"`
				Removed []string `json:"removed"`
			}{list(stand), list(gone)}, func(w io.Writer) {
				fmt.Fprintf(w, "%s in order%s\n", count(len(stand), "sandbox", "sandboxes"), strings.TrimSuffix(": "+strings.Join(stand, ", "), ": "))
				if len(gone) > 0 {
					fmt.Fprintf(w, "removed, since they were never complete: %s\n", strings.Join(gone, ", "))
				}
			}))
			return errors.Join(errs...)
		},
	}
}

// stands reports whether there is something at the key of name.
func stands(name string) bool {
	key, err := osl.KeyPath(name)
	if err != nil {
		return false
	}
	_, err = os.Lstat(key)
	return err == nil
}

// with opens a sandbox for f.
func with(ctx context.Context, name string, f func(*osl.Namespace) error) error {
	ns, err := osl.Open(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(f(ns), ns.Close())
}
