package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/shell"
)

func (a *app) linkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Add interfaces to a sandbox, and remove them",
	}
	verbsOnly(cmd)
	cmd.AddCommand(a.linkAddCommand(), a.linkRmCommand())
	return cmd
}

func (a *app) linkAddCommand() *cobra.Command {
	var l linkFlags
	cmd := &cobra.Command{
		Use:   "add NAME IFNAME",
		Short: "Make an interface in a sandbox, or move one of the host in",
		Example: `  osl link add web eth0 --source veth7 --address 10.0.0.2/24
  osl link add web br0 --type bridge --address 10.0.0.1/24`,
		Args: exactly(2, "NAME IFNAME"), Annotations: kernel,
		ValidArgsFunction: a.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := l.interfaceSpec(cmd, args[1])
			if err != nil {
				return err
			}
			a.wantsIn = fromHost(spec)
			return with(cmd.Context(), args[0], func(ns *osl.Namespace) error {
				return a.linkAdd(cmd.Context(), ns, spec)
			})
		},
	}
	l.register(cmd)
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) linkAdd(ctx context.Context, ns *osl.Namespace, spec osl.InterfaceSpec) error {
	changes, err := ns.PlanLink(ctx, spec)
	if err != nil {
		return err
	}
	if a.dryRun {
		return a.plan(changes)
	}
	if err := ns.AddLink(ctx, spec); err != nil {
		return err
	}
	return a.print(list(changes), func(w io.Writer) { fmt.Fprintf(w, "added %s to %s\n", spec.Name, ns.Key()) })
}

// linkFlags are the flags of link add: the fields of an interface.
type linkFlags struct {
	spec                       osl.InterfaceSpec
	addresses, aliases, routes []string
	local, remote              string
	mac, peer                  string
	txQueueLen                 int
	owner, ownerGroup          int
	learning                   bool
}

// decimal is a number of a flag. Without it 01400 would be 768.
type decimal int

func (d *decimal) String() string { return strconv.Itoa(int(*d)) }
func (d *decimal) Type() string   { return "int" }

func (d *decimal) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("it is a whole number, decimal")
	}
	if int64(n) < math.MinInt32 || int64(n) > math.MaxUint32 { // the kernel has no others
		return errors.New("it is out of range")
	}
	*d = decimal(n)
	return nil
}

func (l *linkFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	s := &l.spec
	f.StringVar(&s.Type, "type", "", "what to make: "+strings.Join(plan.KindNames(), ", "))
	f.StringVar(&s.Source, "source", "", "link of the host to move in")
	f.StringVar(&l.mac, "mac", "", "hardware address")
	f.Var((*decimal)(&s.MTU), "mtu", "MTU in bytes; 0 leaves it")
	f.Var((*decimal)(&l.txQueueLen), "txqueuelen", "transmit queue in packets")
	f.StringSliceVar(&l.addresses, "address", nil, "address with prefix length; can be repeated")
	f.StringSliceVar(&l.aliases, "alias", nil, "further address, such as a virtual service's; can be repeated")
	f.StringSliceVar(&l.routes, "route", nil, "network that is reached through the interface; can be repeated")
	f.StringVar(&s.Master, "master", "", "bridge, bond or vrf of the sandbox to be a port of")
	f.StringToStringVar(&s.Sysctls, "sysctl", nil, "setting of the interface, such as ipv4.rp_filter=2; can be repeated")
	f.BoolVar(&s.DisableARPForVIP, "disable-arp-for-vip", false, "do not answer or ask for addresses of other interfaces")
	f.BoolVar(&s.Down, "down", false, "leave it down")
	f.StringVar(&l.peer, "peer", "", "other end of a veth or netkit: SANDBOX/INTERFACE or host/INTERFACE")
	f.StringVar(&s.PeerMaster, "peer-master", "", "bridge of the host that a peer there becomes a port of")
	f.StringVar(&s.Parent, "parent", "", "link below a macvlan, ipvlan or vlan, or the device of a tunnel: an interface of the sandbox, or host/INTERFACE")
	l.kind(cmd)
	types := plan.KindNames()
	must(cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(types, cobra.ShellCompDirectiveNoFileComp)))
}

// kind registers what makes an interface of its type.
func (l *linkFlags) kind(cmd *cobra.Command) {
	f := cmd.Flags()
	s := &l.spec
	f.StringVar(&s.Mode, "mode", "", "mode: "+strings.Join(plan.WordsOf("mode"), ", "))
	f.StringVar(&s.Flags, "flags", "", "flags of an ipvlan: bridge, private or vepa")
	f.Var((*decimal)(&s.VLAN), "vlan", "tag of a vlan, 1 to 4094")
	f.StringVar(&s.Protocol, "protocol", "", "protocol of a vlan: 802.1Q or 802.1ad")
	f.StringToStringVar(&s.IngressQoSMap, "ingress-qos-map", nil, "priorities of a vlan's tags to those of packets, such as 3=5")
	f.StringToStringVar(&s.EgressQoSMap, "egress-qos-map", nil, "priorities of packets to those of a vlan's tags, such as 5=3")
	f.Var((*decimal)(&s.Table), "table", "routing table of a vrf")
	f.Var((*decimal)(&s.MIIMon), "miimon", "how often a bond looks at its ports, in milliseconds")
	f.Var((*decimal)(&s.VNI), "vni", "network identifier of a vxlan or geneve")
	f.StringVar(&l.local, "local", "", "own address of a tunnel")
	f.StringVar(&l.remote, "remote", "", "other end of a tunnel, or multicast group of a vxlan")
	f.Var((*decimal)(&s.Port), "port", "UDP port of a vxlan or geneve; 0 is 4789 and 6081")
	f.Var((*decimal)(&s.Key), "key", "key of a gre and its kin")
	f.Var((*decimal)(&s.TTL), "ttl", "TTL of a tunnel")
	f.Var((*decimal)(&s.TOS), "tos", "TOS of a tunnel")
	f.BoolVar(&l.learning, "learning", true, "whether a vxlan learns addresses")
	f.StringVar(&s.Policy, "policy", "", "policy of a netkit: forward or blackhole")
	f.StringVar(&s.PeerPolicy, "peer-policy", "", "policy of a netkit's other end")
	f.Var((*decimal)(&l.owner), "owner", "number of the user that may open a tun or tap")
	f.Var((*decimal)(&l.ownerGroup), "owner-group", "number of the group that may open a tun or tap")
	f.BoolVar(&s.MultiQueue, "multi-queue", false, "a tun or tap with several queues")
	f.BoolVar(&s.VNetHdr, "vnet-hdr", false, "a tun or tap with virtio's header")
	f.Var((*decimal)(&s.NumTxQueues), "numtxqueues", "transmit queues of a veth or ifb")
	f.Var((*decimal)(&s.NumRxQueues), "numrxqueues", "receive queues of a veth or ifb")
}

// interfaceSpec returns what the flags say.
func (l *linkFlags) interfaceSpec(cmd *cobra.Command, name string) (osl.InterfaceSpec, error) {
	s := l.spec
	s.Name = name
	for _, x := range []struct {
		flag  string
		value **int
		to    *int
	}{{"txqueuelen", &s.TxQueueLen, &l.txQueueLen}, {"owner", &s.Owner, &l.owner}, {"owner-group", &s.OwnerGroup, &l.ownerGroup}} {
		if cmd.Flags().Changed(x.flag) {
			*x.value = x.to
		}
	}
	if cmd.Flags().Changed("learning") {
		s.Learning = &l.learning
	}
	for _, x := range []struct {
		flag string
		text []string
		list *[]netip.Prefix
	}{
		{"address", l.addresses, &s.Addresses},
		{"alias", l.aliases, &s.Aliases},
		{"route", l.routes, &s.Routes},
	} {
		for _, t := range x.text {
			if x.flag == "route" && t == netfile.Default {
				*x.list = append(*x.list, netfile.Defaults(s.Addresses)...)
				continue
			}
			p, err := netip.ParsePrefix(t)
			if ip, is := netip.ParseAddr(t); is == nil && ip.Zone() == "" && !ip.IsUnspecified() && x.flag == "route" { // as in a file
				p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
			}
			if err != nil {
				return s, usagef("--%s %s: write an address with a prefix length, 10.0.0.2/24 or fd10::2/64", x.flag, t)
			}
			*x.list = append(*x.list, p)
		}
	}
	for _, x := range []struct {
		flag, text string
		value      interface{ UnmarshalText([]byte) error }
	}{
		{"mac", l.mac, &s.MAC},
		{"peer", l.peer, &s.Peer},
		{"local", l.local, &s.Local},
		{"remote", l.remote, &s.Remote},
	} {
		if x.text == "" {
			continue
		}
		if err := x.value.UnmarshalText([]byte(x.text)); err != nil {
			return s, usagef("--%s %s: %w", x.flag, x.text, err)
		}
	}
	return s, nil
}

func (a *app) linkRmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME IFNAME",
		Short: "Remove an interface: home to the host, or deleted where osl made it",
		Args:  exactly(2, "NAME IFNAME"), Annotations: kernel,
		ValidArgsFunction: a.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(cmd.Context(), args[0], func(ns *osl.Namespace) error {
				return a.linkRm(cmd.Context(), ns, args[0], args[1])
			})
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) linkRm(ctx context.Context, ns *osl.Namespace, sandbox, name string) error {
	st, err := ns.Inspect(ctx)
	if err != nil {
		return err
	}
	link := findLink(st, name)
	if link == nil {
		var names []string
		for _, i := range st.Interfaces {
			names = append(names, i.Name)
		}
		return fmt.Errorf("%s %s/%s: %w: there is no such interface%s", a.verb, nameOf(ns.Key()), name, osl.ErrNotFound, near.Hint(name, names))
	}
	changes := osl.Changes{{Sandbox: sandbox, Kind: osl.ChangeEdit, Command: removal(ns.Key(), link)}}
	if a.dryRun {
		return a.plan(changes)
	}
	if err := ns.RemoveLink(ctx, name); err != nil {
		return err
	}
	return a.print(changes, func(w io.Writer) {
		if link.Origin == "made" {
			fmt.Fprintf(w, "deleted %s of %s\n", name, ns.Key())
			return
		}
		fmt.Fprintf(w, "%s of %s has its first place and name again (%s)\n", name, ns.Key(), link.Source)
	})
}

func findLink(st *osl.Status, name string) *osl.InterfaceStatus {
	for i := range st.Interfaces {
		if st.Interfaces[i].Name == name {
			return &st.Interfaces[i]
		}
	}
	return nil
}

// removal is the ip command that removes a link, roughly: osl restores the
// first settings of a link as well.
func removal(key string, link *osl.InterfaceStatus) string {
	line := "link del dev " + shell.Quote(link.Name)
	switch link.Origin {
	case "host":
		line = fmt.Sprintf("link set dev %s netns %s name %s", shell.Quote(link.Name), shell.NS(""), shell.Quote(link.Source))
	case "kept":
		line = fmt.Sprintf("link set dev %s name %s", shell.Quote(link.Name), shell.Quote(link.Source))
	}
	return shell.For(osl.BasePath()).Command(key, line)
}
