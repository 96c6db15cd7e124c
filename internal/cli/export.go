package cli

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/shell"
)

func (a *app) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export NAME…",
		Short: "Write the network file of what stands",
		Long: `Write to standard output the network file of what stands: of sandboxes, and of
networks by their names. To osl up and osl diff it changes nothing, and where the
sandboxes are gone it makes others like them. It has what osl holds, and settings
that differ from a new sandbox's; of a network by its name also what that has on
the host. It has no checks, and not what others made. Of a part of a network it says
to standard error what is missing. The keys of a wireguard are not written: the file
names files for them, and the commands that write these. With -o json the file is
written as JSON, which is read too; what are comments goes to standard error then.`,
		Example: "  osl export lab > lab.yaml",
		Args:    atLeast(1, "NAME"), Annotations: kernel,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := osl.List(cmd.Context())
			if err != nil {
				return err
			}
			names := sandboxesOf(all, args)
			net, err := osl.Export(cmd.Context(), names...)
			if err != nil {
				return err
			}
			for _, text := range append(otherNetwork(all, names), noOrigin(&net)...) {
				fmt.Fprintln(a.stderr, "osl: export: "+text)
			}
			return a.printFile(&netfile.File{Network: net}, keyNotes(&net))
		},
	}
}

// printFile writes a network file: its text, with notes before it that are comments. With -o json
// the same as JSON, which is a network file too, and has no comments: they go to standard error.
func (a *app) printFile(f *netfile.File, notes []byte) error {
	if a.output != "json" {
		_, err := a.stdout.Write(append(notes, netfile.Text(f)...))
		return err
	}
	fmt.Fprintf(a.stderr, "%s%s", notes, netfile.Comments(f))
	return a.print(f.Network, nil)
}

// otherNetwork says why osl up refuses the file of these sandboxes as long as they stand: it
// is not that of their network.
func otherNetwork(all []osl.Entry, names []string) []string {
	var networks, others []string
	for _, e := range all {
		if slices.Contains(names, e.Name) && !slices.Contains(networks, e.Network) {
			networks = append(networks, e.Network)
		}
	}
	for _, e := range all {
		if len(networks) == 1 && e.Network == networks[0] && e.Network != "" && !slices.Contains(names, e.Name) {
			others = append(others, e.Name)
		}
	}
	switch named := slices.DeleteFunc(slices.Clone(networks), func(s string) bool { return s == "" }); {
	case len(networks) > 1 && len(named) > 0:
		return []string{fmt.Sprintf("not all sandboxes are of one network (%s): osl up refuses the file as long as they stand; export each network by itself", some(named))}
	case len(others) > 0:
		return []string{fmt.Sprintf("the network %q has other sandboxes too (%s): osl up refuses the file as long as it stands; all of it: osl export %s",
			networks[0], some(others), shell.Quote(networks[0]))}
	}
	return nil
}

// noOrigin says of which interfaces the file does not say how they are made.
func noOrigin(net *osl.Network) (list []string) {
	made := map[osl.Endpoint]bool{}
	for _, l := range net.Links {
		made[l[0]], made[l[1]] = true, true
	}
	for _, s := range net.Sandboxes {
		for _, f := range s.Interfaces {
			made[f.Peer] = true
		}
	}
	for _, s := range net.Sandboxes {
		for _, f := range s.Interfaces {
			if e := (osl.Endpoint{Sandbox: s.Name, Interface: f.Name}); f.Type+f.Source == "" && f.Name != "lo" && !made[e] {
				list = append(list, fmt.Sprintf("%v is in the file as it is, and not how it is made: its other end is not in a sandbox of the file, or osl did not make it; osl up finds it, or fails", e))
			}
		}
	}
	return list
}

// keyNotes says, as comments, what writes the files with the keys that an exported network
// names.
func keyNotes(net *osl.Network) []byte {
	var b bytes.Buffer
	note := func(sandbox, what, file string) {
		fmt.Fprintf(&b, "#   osl exec %s -- wg show %s >%s\n", shell.Quote(sandbox), what, shell.Quote(file))
	}
	for _, s := range net.Sandboxes {
		for _, f := range s.Interfaces {
			if f.WireGuard == nil {
				continue
			}
			if b.Len() == 0 {
				b.WriteString("# The keys are not here, but in files beside this one, which these commands write:\n#   umask 077\n")
			}
			dev := shell.Quote(f.Name)
			note(s.Name, dev+" private-key", f.WireGuard.PrivateKeyFile)
			for _, p := range f.WireGuard.Peers {
				if p.PresharedKeyFile != "" {
					note(s.Name, dev+" preshared-keys | awk '$1 == \""+p.PublicKey.String()+"\" {print $2}'", p.PresharedKeyFile)
				}
			}
		}
	}
	return b.Bytes()
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
