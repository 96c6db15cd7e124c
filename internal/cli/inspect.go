package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed59451c2b/osl"
)

func (a *app) inspectCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show what is in a sandbox, or what osl has on the host",
		Long: `Show what is in a sandbox: interfaces and their settings, routes, rules,
neighbors, whose they are, and of which network the sandbox is. With the name
host it shows the host, and what of it osl made.`,
		Example: "  osl inspect web\n  osl inspect host -o json",
		Args:    exactly(1, "NAME"), Annotations: kernel,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			names, how := a.completeName(cmd, args, prefix)
			if len(args) == 0 && strings.HasPrefix(osl.HostName, prefix) {
				names = append(names, osl.HostName)
			}
			return names, how
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if name == osl.HostName {
				name = ownNamespace
			}
			return with(cmd.Context(), name, func(ns *osl.Namespace) error {
				if watch {
					return a.watch(cmd.Context(), ns)
				}
				st, err := ns.Inspect(cmd.Context())
				if err != nil {
					return err
				}
				return a.print(withName(st), func(w io.Writer) { statusTables(w, st) })
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again after each change, until interrupted or the sandbox is gone")
	return cmd
}

// ownNamespace is where the kernel shows a process its own namespace, which of this one
// is the host's.
const ownNamespace = "/proc/self/ns/net"

// withName gives the host its name.
func withName(st *osl.Status) *osl.Status {
	if st.Key == ownNamespace {
		st.Name = osl.HostName
	}
	return st
}

// watch prints each state of the sandbox: as documents one after another, or
// for people below the time. To be interrupted is how it ends well.
func (a *app) watch(ctx context.Context, ns *osl.Namespace) error {
	for st, err := range ns.Watch(ctx) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.output == "yaml" {
			fmt.Fprintln(a.stdout, "---")
		}
		err = a.print(withName(st), func(w io.Writer) {
			fmt.Fprintln(w, time.Now().Format("== 15:04:05.000"))
			statusTables(w, st)
			fmt.Fprintln(w)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func statusTables(w io.Writer, st *osl.Status) {
	if st.Name == osl.HostName {
		fmt.Fprintln(w, "the host: what osl made here has \"made\" under FROM")
	} else {
		fmt.Fprintf(w, "%s (%s), made by %s\n", st.Name, st.Key, maker(st.Made))
	}
	if st.From != "" {
		fmt.Fprintln(w, "found at: "+st.From)
	}
	if st.Owner != "" {
		fmt.Fprintln(w, "owner: "+st.Owner)
	}
	if st.Network != "" {
		fmt.Fprintln(w, "network: "+st.Network)
	}
	if len(st.Labels) > 0 {
		fmt.Fprintln(w, "labels: "+labels(st.Labels))
	}
	if len(st.Sysctls) > 0 {
		fmt.Fprintln(w, "sysctls: "+strings.Join(settings(st.Sysctls), ", "))
	}
	section(w, "INTERFACE TYPE STATE MTU MAC MASTER FROM ADDRESSES", interfaceRows(st))
	section(w, "DEV WITH", withRows(st))
	section(w, "VLANS DEV PVID", vlanRows(st))
	section(w, "PEER DEV ENDPOINT ALLOWED WITH HANDSHAKE RX TX", peerRows(st))
	section(w, "ROUTE VIA DEV WITH BY", routeRows(st))
	section(w, "NEXTHOP WHAT BY", nexthopRows(st))
	section(w, "RULE WHAT DOES BY", ruleRows(st))
	section(w, "NEIGHBOR MAC DEV KIND", neighborRows(st))
	section(w, "MASQUERADE UPLINK NETWORK", masqueradeRows(st))
	for _, i := range st.Interfaces {
		if i.UnderWay {
			fmt.Fprintf(w, "\nA change of %s never came to its end: put it right with: osl recover %s\n", i.Name, st.Name)
		}
	}
}

// section writes a table if it has any rows.
func section(w io.Writer, head string, rows [][]string) {
	if len(rows) > 0 {
		fmt.Fprintln(w)
		columns(w, head, rows)
	}
}

func masqueradeRows(st *osl.Status) (rows [][]string) {
	for _, m := range st.Masquerade {
		rows = append(rows, []string{m.Subnet.String(), m.Uplink, m.Network})
	}
	return rows
}

func interfaceRows(st *osl.Status) [][]string {
	var rows [][]string
	for _, i := range st.Interfaces {
		var addrs []string
		for _, p := range i.Addresses {
			text := p.String()
			switch {
			case !slices.Contains(i.Others, p):
			case p.Addr().IsLinkLocalUnicast():
				text += " (kernel)"
			default:
				text += " (other)"
			}
			addrs = append(addrs, text)
		}
		for _, p := range i.Aliases {
			addrs = append(addrs, p.String()+" (alias)")
		}
		rows = append(rows, []string{
			i.Name, kindOf(i), linkState(i), fmt.Sprint(i.MTU), i.MAC.String(), i.Master, origin(i), strings.Join(addrs, " "),
		})
	}
	return rows
}

func vlanRows(st *osl.Status) (rows [][]string) {
	for _, i := range st.Interfaces {
		list, pvid := []osl.VLANRange(nil), (*int)(nil)
		switch {
		case i.Bridge != nil:
			list, pvid = i.Bridge.VLANs, i.Bridge.PVID
		case i.BridgePort != nil:
			list, pvid = i.BridgePort.VLANs, i.BridgePort.PVID
		}
		var texts []string
		for _, v := range list {
			texts = append(texts, v.String())
		}
		native := ""
		if pvid != nil {
			native = fmt.Sprint(*pvid)
		}
		if len(texts) > 0 {
			rows = append(rows, []string{strings.Join(texts, ", "), i.Name, native})
		}
	}
	return rows
}

// peerRows are those of wireguards. The key of a link is with its type.
func peerRows(st *osl.Status) (rows [][]string) {
	for _, i := range st.Interfaces {
		if i.WireGuard == nil {
			continue
		}
		for _, p := range i.WireGuard.Peers {
			endpoint, since := "", "never"
			if p.Endpoint.IsValid() {
				endpoint = p.Endpoint.String()
			}
			if !p.LatestHandshake.IsZero() {
				since = time.Since(p.LatestHandshake).Round(time.Second).String() + " ago"
			}
			with := fields(struct {
				Preshared           bool `json:"preshared_key,omitempty"`
				PersistentKeepalive int  `json:"persistent_keepalive,omitempty"`
			}{p.Preshared, p.PersistentKeepalive}, nil)
			var ips []string
			for _, ip := range p.AllowedIPs {
				ips = append(ips, ip.String())
			}
			rows = append(rows, []string{p.PublicKey.String(), i.Name, endpoint, strings.Join(ips, ","), strings.Join(with, " "), since, fmt.Sprint(p.RxBytes), fmt.Sprint(p.TxBytes)})
		}
	}
	return rows
}

// kindOf is the type of a link, with what makes it.
func kindOf(i osl.InterfaceStatus) string {
	words := []string{i.Type}
	if g := i.WireGuard; g != nil {
		words = append(words, "public_key="+g.PublicKey.String(), fmt.Sprintf("listen_port=%d", g.ListenPort))
		if g.FwMark != 0 {
			words = append(words, fmt.Sprintf("fwmark=%d", g.FwMark))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Details)) {
		words = append(words, name+"="+strings.ReplaceAll(i.Details[name], " ", ","))
	}
	return strings.Join(words, " ")
}

func linkState(i osl.InterfaceStatus) string {
	switch {
	case !i.Up:
		return "down"
	case !i.Carrier:
		return "no-carrier"
	}
	return "up"
}

// origin says where a link came from, so that one knows what becomes of it.
func origin(i osl.InterfaceStatus) string {
	if i.Origin == "host" {
		return osl.HostName + "/" + i.Source
	}
	return i.Origin
}

func routeRows(st *osl.Status) [][]string {
	var rows [][]string
	for _, gw := range []netip.Addr{st.Gateway, st.Gateway6} {
		if gw.IsValid() {
			rows = append(rows, []string{"default", gw.WithZone("").String(), gw.Zone(), "", "osl"})
		}
	}
	for _, r := range st.Routes {
		rows = append(rows, routeRow(r, r.Metric, "osl"))
	}
	for _, i := range st.Interfaces {
		for _, p := range i.Routes {
			rows = append(rows, []string{p.String(), "", i.Name, "", "osl"})
		}
	}
	for _, r := range st.OtherRoutes {
		metric := r.Metric
		if r.Proto == "kernel" {
			metric = 0
		}
		rows = append(rows, routeRow(r.RouteSpec, metric, r.Proto))
	}
	return rows
}

// routeRow shows a route: its destination as the ip command does, its next hops, what
// else it has, and whose it is.
func routeRow(r osl.RouteSpec, metric uint32, by string) []string {
	hops := r.NextHops
	if len(hops) == 0 {
		hops = []osl.NextHop{{Via: r.Via, Dev: r.Dev}}
	}
	var via, devs, with []string
	for _, h := range hops {
		text := ""
		if h.Via.IsValid() {
			text = h.Via.String()
		}
		if h.Weight > 1 {
			text += fmt.Sprintf(" (%d)", h.Weight)
		}
		via, devs = append(via, text), append(devs, h.Dev)
	}
	to := r.To.String()
	if r.To.Bits() == 0 {
		to = "default"
	}
	if r.Type != "" {
		to = r.Type + " " + to
	}
	add := func(name string, value any, is bool) {
		if is {
			with = append(with, fmt.Sprintf("%s %v", name, value))
		}
	}
	add("nexthop", r.Nexthop, r.Nexthop != 0)
	add("table", r.Table, r.Table != 0)
	add("metric", metric, metric != 0)
	add("src", r.Src, r.Src.IsValid())
	add("mtu", r.MTU, r.MTU != 0)
	add("advmss", r.AdvMSS, r.AdvMSS != 0)
	add("scope", r.Scope, r.Scope != "")
	return []string{to, strings.Join(via, ", "), strings.Join(devs, ", "), strings.Join(with, " "), by}
}

func ruleRows(st *osl.Status) [][]string {
	var rows [][]string
	for _, r := range st.Rules {
		rows = append(rows, []string{fmt.Sprint(r.Priority), matches(r), does(r), "osl"})
	}
	for _, r := range st.OtherRules {
		rows = append(rows, []string{fmt.Sprint(r.Priority), matches(r.Rule), does(r.Rule), ""})
	}
	return rows
}

// matches says what a rule is about, as the ip command does.
func matches(r osl.RuleSpec) string {
	var words []string
	say := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	say(r.Not, "not")
	say(!r.From.IsValid(), "from all")
	say(r.From.IsValid(), "from %v", r.From)
	say(r.To.IsValid(), "to %v", r.To)
	say(r.FWMark|r.FWMask != 0, "fwmark %#x", r.FWMark)
	say(r.FWMask != 0, "mask %#x", r.FWMask)
	say(r.IIF != "", "iif %s", r.IIF)
	say(r.OIF != "", "oif %s", r.OIF)
	say(r.IPProto != "", "ipproto %s", r.IPProto)
	say(r.SPort != "", "sport %s", r.SPort)
	say(r.DPort != "", "dport %s", r.DPort)
	say(r.Family == "ipv6", "(ipv6)")
	return strings.Join(words, " ")
}

func does(r osl.RuleSpec) string {
	text := fmt.Sprintf("lookup %d", r.Table)
	switch {
	case r.Action != "":
		return r.Action
	case r.Goto != 0:
		return fmt.Sprintf("goto %d", r.Goto)
	case r.L3MDev:
		text = "lookup of the VRF's table"
	}
	if n := r.SuppressPrefixLength; n != nil {
		text += fmt.Sprintf(" suppress_prefixlength %d", *n)
	}
	if n := r.SuppressIfGroup; n != nil {
		text += fmt.Sprintf(" suppress_ifgroup %d", *n)
	}
	return text
}

// inTheWay says what others made in a sandbox that may keep a packet from where
// it is to go.
func inTheWay(st *osl.Status) (list []string) {
	for _, i := range st.Interfaces {
		for _, p := range i.Others {
			if !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsLoopback() {
				list = append(list, fmt.Sprintf("the address %v on %s", p, i.Name))
			}
		}
	}
	for _, r := range st.OtherRoutes {
		if r.Proto == "kernel" {
			continue
		}
		row := routeRow(r.RouteSpec, r.Metric, r.Proto)
		text := "the route " + row[0]
		for i, word := range []string{"via ", "dev ", ""} {
			if row[i+1] != "" {
				text += " " + word + row[i+1]
			}
		}
		list = append(list, text+", proto "+r.Proto)
	}
	for _, n := range st.OtherNexthops {
		list = append(list, strings.Join(append([]string{"the nexthop"}, nexthopRow(n, "")[:2]...), " "))
	}
	for _, r := range st.OtherRules {
		if r.Rule.L3MDev {
			continue // the kernel's, with the first VRF
		}
		list = append(list, fmt.Sprintf("the rule %d: %s %s", r.Priority, matches(r.Rule), does(r.Rule)))
	}
	return list
}

func neighborRows(st *osl.Status) [][]string {
	var rows [][]string
	for _, n := range st.Neighbors {
		kind := "neighbor"
		switch {
		case n.MDB:
			kind = "mdb"
		case n.FDB:
			kind = "fdb"
		}
		if n.VLAN != 0 {
			kind += fmt.Sprintf(", VLAN %d", n.VLAN)
		}
		ip := ""
		if n.IP.IsValid() {
			ip = n.IP.String()
		}
		rows = append(rows, []string{ip, n.MAC.String(), n.Dev, kind})
	}
	return rows
}
