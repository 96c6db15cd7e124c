package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
)

func (a *app) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export NAME…",
		Short: "Write the network file of what stands",
		Long: `Write to standard output the network file of what stands: of sandboxes, and of
networks by their names. To osl up and osl diff it changes nothing, and where the
sandboxes are gone it makes others like them. It has what osl holds, and settings
that differ from a new sandbox's; of a network by its name also what that has on
the host. It has no checks, and not what others made.`,
		Example: "  osl export lab > lab.yaml",
		Args:    atLeast(1, "NAME"), Annotations: kernel,
		ValidArgsFunction: a.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := osl.List(cmd.Context())
			if err != nil {
				return err
			}
			net, err := osl.Export(cmd.Context(), sandboxesOf(all, args)...)
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(netfile.Text(&netfile.File{Network: net}))
			return err
		},
	}
}

// sandboxesOf returns the sandboxes of the networks that are called so, as down has it,
// and where there is no such network, those that are.
func sandboxesOf(all []osl.Entry, args []string) (names []string) {
	for _, arg := range args {
		n := len(names)
		for _, e := range all {
			if e.Network == arg {
				names = append(names, e.Name)
			}
		}
		if len(names) == n {
			names = append(names, arg)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
