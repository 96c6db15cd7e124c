package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl/internal/oci"
	"github.com/seed59451c2b/osl/internal/rootless"
)

func (a *app) ociCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "oci",
		Short: "Give a container its network: a hook of runc, crun and others",
		Long: `A hook for runtimes of containers (OCI): as createRuntime it gives the container
the network that its annotation ` + oci.Network + ` says, all of it or nothing, as
poststop it takes that away. It reads the container's state from standard input.
The annotation is the path of a network file, relative to the bundle, or one
sandbox as JSON. docs/oci.md has the configurations.`,
		Args: exactly(0, ""), Annotations: keepUser,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.oci(cmd) },
	}
	cmd.AddCommand(a.ociSpecCommand())
	return cmd
}

func (a *app) oci(cmd *cobra.Command) error {
	if f, is := a.stdin.(*os.File); is {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return usagef("osl oci is a hook, called by a runtime with the container's state on standard input; see %s --help", cmd.CommandPath())
		}
	}
	s, text, err := oci.ReadState(a.stdin)
	if err != nil {
		return err
	}
	ends, err := s.Ends()
	if err != nil {
		return err
	}
	if s.Annotations[oci.Network] == "" {
		return nil
	}
	alone := rootless.AtOwner()
	strange := !alone && rootless.Strange()
	switch {
	case ends && strange:
		return nil // it ended with the container
	case ends:
		return oci.Down(cmd.Context(), s)
	case strange:
		return rootless.EnterOwner(s.NetNS(), a.args, text)
	}
	return oci.Up(cmd.Context(), s, alone)
}

func (a *app) ociSpecCommand() *cobra.Command {
	var bundle string
	cmd := &cobra.Command{
		Use:   "spec DEVICE[=NAME]…",
		Short: "Write devices of the host into a container's config.json",
		Long: `Write ends of links that osl made on the host into linux.netDevices of a bundle's
config.json: the runtime moves them into the container, where they are called NAME.
That is of version 1.3 of the OCI's runtime specification; a runtime that does not
know it passes over it.`,
		Example: "  osl oci spec --bundle /containers/web web0=eth0",
		Args:    atLeast(1, "DEVICE[=NAME]…"), Annotations: kernel,
		RunE: func(cmd *cobra.Command, args []string) error {
			devices, err := oci.Devices(cmd.Context(), args)
			if err != nil {
				return err
			}
			changed, err := oci.WriteDevices(bundle, devices, !a.dryRun)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"netDevices": devices}, func(w io.Writer) {
				if !changed {
					fmt.Fprintln(w, "nothing to change")
					return
				}
				for _, d := range devices {
					fmt.Fprintf(w, "%s: %s becomes %s\n", oci.Config(bundle), d.Host, d.Name)
				}
			})
		},
	}
	cmd.Flags().StringVarP(&bundle, "bundle", "b", ".", "directory with the container's config.json")
	a.dryRunFlag(cmd)
	return cmd
}
