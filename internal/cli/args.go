package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rootless"
	"github.com/seed59451c2b/osl/internal/shell"
)

// exactly and atLeast check the number of arguments; words are their names.
func exactly(n int, words string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if n == 0 {
			return usagef("%s takes no arguments; see %s --help", cmd.CommandPath(), cmd.CommandPath())
		}
		return wrongCount(cmd, words, args)
	}
}

func atLeast(n int, words string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return wrongCount(cmd, words, args)
	}
}

func wrongCount(cmd *cobra.Command, words string, args []string) error {
	given := "nothing was given"
	if len(args) > 0 {
		given = "given: " + strings.Join(args, " ")
	}
	return usagef("%s needs %s, %s; see %s --help", cmd.CommandPath(), words, given, cmd.CommandPath())
}

// verbsOnly is for a command of commands, which is not runnable by itself: without it a
// misspelt one shows help and succeeds.
func verbsOnly(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return wrongVerb(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// wrongVerb says which verb of a command was meant.
func wrongVerb(cmd *cobra.Command, name string) error {
	var verbs []string
	for _, c := range cmd.Commands() {
		verbs = append(verbs, c.Name())
	}
	return usagef("unknown command %q for %q%s", name, cmd.CommandPath(), near.Hint(name, verbs))
}

// wrongFlag says which flag was meant.
func wrongFlag(cmd *cobra.Command, err error) error {
	hint := ""
	if name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if n := near.Name(name, names); n != "" {
			hint = "; did you mean --" + n + "?"
		}
	}
	return usagef("%w; see %s --help%s", err, cmd.CommandPath(), hint)
}

func (a *app) dryRunFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "change nothing; print what would be done as ip commands")
}

func completeFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeNames offers the sandboxes that are not on the command line yet. It
// reads the directory of the keys only: that needs no rights and is quick.
func (a *app) completeNames(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, name := range keyNames(a.base) {
		if strings.HasPrefix(name, prefix) && !slices.Contains(args, name) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeName offers sandboxes for the first argument only.
func (a *app) completeName(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeNames(cmd, args, prefix)
}

func keyNames(path string) []string {
	if own := rootless.Base(); own != "" && path == base.Default() {
		path = own
	}
	// Without the directory there are no sandboxes.
	entries, _ := os.ReadDir(filepath.Join(path, "netns"))
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// quoted returns arguments as they are written in a command.
func quoted(args []string) string {
	var list []string
	for _, a := range args {
		list = append(list, shell.Quote(a))
	}
	return strings.Join(list, " ")
}
