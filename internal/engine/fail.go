//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/internal/where"
)

// fail makes the *fault.Error of an operation. A cause that is one already keeps
// what it says, and gets what it lacks.
func fail(op, key, dev string, err error) error {
	if err == nil {
		return nil
	}
	e, fresh := fault.In(op, key, dev, err)
	if !fresh {
		return e
	}
	var k *rtnl.Error
	if errors.As(err, &k) {
		e.Kernel, e.Err = k.Text, k.Errno
	}
	var p *plan.Problem
	if errors.As(err, &p) {
		e.Key, e.Interface = cmp.Or(p.Key, want.HostName), p.Dev
		e.Err = fault.Because(problems[p.Kind], errors.New(p.Text))
		if p.Kind == plan.Conflict {
			e.Err = fault.Worded(p.Text, fault.ErrAddressConflict)
		}
		e.Err = where.In(p.Field, p.Entry, where.In(p.Within, "", e.Err))
		if p.Away != nil {
			e.Hint = "take that away with: " + strings.Join(plan.Commands(*p.Away, shell.For(base.Path())), " && ")
		}
	}
	classify(e)
	return e
}

var problems = map[plan.ProblemKind]error{
	plan.Invalid: fault.ErrInvalid, plan.NotFound: fault.ErrNotFound, plan.Exists: fault.ErrExists,
	plan.NameInUse: fault.ErrNameInUse, plan.Conflict: fault.ErrAddressConflict,
	plan.Unreachable: fault.ErrUnreachable, plan.Unsupported: fault.ErrUnsupported,
}

// classify gives the cause its sentinel, where it has none, and a hint.
func classify(e *fault.Error) {
	for _, s := range fault.Sentinels {
		if errors.Is(e.Err, s) {
			return
		}
	}
	is := func(sentinel error) { e.Err = fault.Because(sentinel, e.Err) }
	switch err := e.Err; {
	case errors.Is(err, netns.ErrNotNamespace):
		is(fault.ErrNotNamespace)
		e.Hint = "a key is the path of a network namespace; list them with: osl ls"
	case errors.Is(err, fs.ErrPermission):
		is(fault.ErrPermission)
		e.Hint = missing()
	case errors.Is(err, unix.EROFS):
		is(fault.ErrPermission)
		if strings.Contains(err.Error(), "/proc/sys") {
			e.Hint = "IPv6 can not be turned off or on while /proc/sys is read-only"
		}
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(e.Op, "open the sandbox"):
		e.Err, e.Hint = fault.Because(fault.ErrNotFound, fault.Worded("there is no such sandbox", err)), "list the sandboxes with: osl ls"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENXIO):
		is(fault.ErrNotFound)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		is(fault.ErrUnsupported)
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		is(fault.ErrUnreachable)
	case errors.Is(err, fs.ErrExist):
		is(fault.ErrExists)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		is(fault.ErrTimeout)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENAMETOOLONG):
		is(fault.ErrInvalid)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		e.Hint = "a limit is reached, or the file system of the base path is full: see user.max_net_namespaces, fs.mount-max, ulimit -n and df"
	}
}

// ofAction gives the error of one operation of a plan the sentinel that its
// kind calls for.
func ofAction(op plan.Op, err error) error {
	var said *fault.Error
	if errors.As(err, &said) {
		return err
	}
	e := &fault.Error{Key: op.NS, Interface: op.Dev, Err: err}
	if l, is := op.Do.(plan.NewLink); is && l.In != nil { // made by way of the host
		e.Key = *l.In
	}
	var k *rtnl.Error
	if errors.As(err, &k) {
		e.Kernel, e.Err = k.Text, k.Errno
	}
	is := func(sentinel error, hint string) {
		e.Err, e.Hint = fault.Because(sentinel, e.Err), hint
	}
	switch a := op.Do.(type) {
	case plan.NewLink, plan.SetLink, plan.NewTun:
		l, isNew := a.(plan.NewLink)
		once := plan.KindOf(l.Link.Kind).Once
		switch {
		// A name that is taken the kernel does not explain.
		case errors.Is(err, unix.EEXIST) && once != nil && once.Kernel != "" && strings.Contains(e.Kernel, once.Kernel):
			is(fault.ErrExists, once.Hint)
			e.Err = fmt.Errorf("%s: %w", once.Text(l.Link.Data), e.Err)
		case errors.Is(err, unix.EEXIST):
			is(fault.ErrNameInUse, "")
			if s, ok := a.(plan.SetLink); ok && s.Link.Name != "" {
				e.Err = fmt.Errorf("%q: %w", s.Link.Name, e.Err)
			}
			if once != nil && once.Kernel == "" {
				e.Hint = "or " + once.Text(l.Link.Data) + " is there: " + once.Hint
			}
			if isNew && l.Link.Peer != nil {
				e.Hint = fmt.Sprintf("it may be the name of its other end, %q, that is taken", l.Link.Peer.Name)
			}
		case errors.Is(err, unix.EBUSY) && once != nil && once.Kernel == "": // also where an index is taken
			e.Hint = once.Hint
		case errors.Is(err, unix.EADDRINUSE): // wireguard, vxlan and geneve listen when they go up
			e.Hint = portTaken
		case strings.Contains(e.Kernel, parentWithoutIPv6):
			is(fault.ErrInvalid, "give its parent an IPv6 address, or turn its IPv6 on")
		case errors.Is(err, unix.EBUSY) && becomesPort(op):
			e.Hint = "a macvlan or an ipvlan is on it, or was until this change: take that away before, in a change of its own"
		case errors.Is(err, unix.EBUSY) && (plan.IsMacvlan(l.Link.Kind) || plan.IsIPvlan(l.Link.Kind)):
			e.Hint = "its parent is a port of a bridge, or has links of the other sort, macvlan or ipvlan: take these out first"
		case errors.Is(err, unix.EINVAL) && e.Kernel == "" && plan.IsMacvlan(l.Link.Kind):
			e.Hint = "its parent must be of Ethernet, and one of the mode passthru has it for itself: take the others out first"
		case errors.Is(err, unix.EOPNOTSUPP) && e.Kernel == "" && changesMAC(op):
			is(fault.ErrUnsupported, "its driver does not change the hardware address")
		case errors.Is(err, unix.EOPNOTSUPP) && (e.Kernel == "" || e.Kernel == "Unknown device type"):
			is(fault.ErrUnsupported, "the kernel lacks this type of link")
			e.Err = where.In("type", "", e.Err)
		}
	case plan.ChangeLink:
		if strings.Contains(e.Kernel, parentWithoutIPv6) {
			is(fault.ErrInvalid, "give its parent an IPv6 address, or turn its IPv6 on")
		}
	case plan.SetWireGuard:
		field, about := "wireguard", "wireguard"
		if errors.Is(err, unix.EADDRINUSE) && a.Set.ListenPort != nil {
			field, about = "wireguard.listen_port", fmt.Sprintf("the UDP port %d is taken", *a.Set.ListenPort)
			e.Hint = portTaken
		}
		e.Err = where.In(field, "", fmt.Errorf("%s: %w", about, e.Err))
	case plan.NewQdisc:
		ofQdisc(e, a.Qdisc.Kind, is)
	case plan.ReplaceQdisc:
		ofQdisc(e, a.Qdisc.Kind, is)
	case plan.NewNeigh:
		if a.Neigh.MDB && errors.Is(err, unix.EINVAL) && !kernelIs(6, 3) {
			is(fault.ErrUnsupported, "before Linux 6.3 the kernel does not keep whose a multicast entry is")
		}
	case plan.SetBridge, plan.SetVLANs, plan.DelVLANs:
		if errors.Is(err, unix.EOPNOTSUPP) {
			is(fault.ErrUnsupported, "the kernel was built without the VLANs of bridges (CONFIG_BRIDGE_VLAN_FILTERING)")
		}
	case plan.Sysctl:
		switch {
		case errors.Is(err, sysctl.ErrChanged):
			is(fault.ErrInvalid, "")
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), isWrite(err) && errors.Is(err, unix.ENOENT):
			e.Err = fault.Worded(fmt.Sprintf("the kernel does not take %q", a.Value), err)
			is(fault.ErrInvalid, "")
		case errors.Is(err, unix.EPERM):
			e.Err = fault.Worded(fmt.Sprintf("the kernel does not allow %q in this namespace", a.Value), err)
			is(fault.ErrPermission, "")
		}
	case plan.NewRule:
		if a.Rule.Family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT) {
			is(fault.ErrUnsupported, "the kernel has no IPv6; say family: ipv4")
		} else if a.Rule.L3MDev && errors.Is(err, unix.EINVAL) {
			is(fault.ErrUnsupported, "the kernel has no VRF")
		}
	case plan.NewNexthop:
		ofNexthop(e, a.Nexthop, is)
	case plan.ReplaceNexthop:
		ofNexthop(e, a.Nexthop, is)
	case plan.NewRoute, plan.ReplaceRoute:
		if errors.Is(err, unix.EACCES) && strings.Contains(e.Kernel, "IPv6 is disabled") {
			is(fault.ErrInvalid, "give the interface an IPv6 address, or turn its IPv6 on")
		} else if errors.Is(err, unix.EACCES) && strings.Contains(strings.ToLower(e.Kernel), "gateway") {
			is(fault.ErrUnreachable, "a rule of the sandbox denies the way to the next hop: ip rule")
		} else if errors.Is(err, unix.EINVAL) && strings.Contains(strings.ToLower(e.Kernel), "gateway") && !strings.Contains(e.Kernel, "scope") ||
			errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETDOWN) {
			is(fault.ErrUnreachable, "a next hop must be in the subnet of an address of an interface that is up, and no rule may deny the way to it")
		}
	}
	classify(e)
	if field, entry, about := partOf(op.Do); field != "" {
		e.Err = where.In(field, entry, fmt.Errorf("%s: %w", about, e.Err))
	}
	return e
}

// parentWithoutIPv6 is in what the kernel says of a vxlan whose parent has no IPv6.
const parentWithoutIPv6 = "IPv6 support disabled"

func changesMAC(op plan.Op) bool {
	s, is := op.Do.(plan.SetLink)
	return is && s.Link.MAC != nil
}

func becomesPort(op plan.Op) bool {
	s, is := op.Do.(plan.SetLink)
	return is && s.Link.Master != nil && *s.Link.Master != 0
}

// isWrite reports whether err is of a file that was opened, and not written.
func isWrite(err error) bool {
	var e *fs.PathError
	return errors.As(err, &e) && e.Op == "write"
}

// portTaken is the hint where a link can not listen.
const portTaken = "another program, or another link, has the UDP port (ss -ulnp), or of a macvlan the hardware address, perhaps in another sandbox"

// ofQdisc says why the kernel does not take a queueing discipline.
func ofQdisc(e *fault.Error, kind string, is func(error, string)) {
	switch {
	case errors.Is(e.Err, unix.ENOENT) && strings.Contains(e.Kernel, "kind is unknown"):
		is(fault.ErrUnsupported, "it needs the module sch_"+kind)
		e.Err = fmt.Errorf("this kernel has no %s: %w", kind, e.Err)
	case errors.Is(e.Err, unix.EEXIST):
		is(fault.ErrExists, "another program put a queueing discipline there, which osl does not touch")
	}
}

// ofNexthop says why the kernel does not make a next hop that is an object.
func ofNexthop(e *fault.Error, n rtnl.Nexthop, is func(error, string)) {
	switch {
	case errors.Is(e.Err, unix.EOPNOTSUPP) && e.Kernel == "":
		is(fault.ErrUnsupported, "the kernel has no nexthop objects, which came with Linux 5.3: give the routes via, dev or next_hops")
	case n.Resilient.Buckets != 0 && errors.Is(e.Err, unix.EINVAL) && !kernelIs(5, 13):
		is(fault.ErrUnsupported, "the kernel has no resilient groups of next hops, which came with Linux 5.13: leave type out")
	case strings.Contains(e.Kernel, "IPv6 is disabled") && n.Blackhole:
		is(fault.ErrInvalid, "a blackhole of IPv6 is on lo, whose IPv6 is on while an interface has an IPv6 address")
	case strings.Contains(e.Kernel, "IPv6 is disabled"):
		is(fault.ErrInvalid, "give the interface an IPv6 address, or turn its IPv6 on")
	case errors.Is(e.Err, unix.ENETDOWN):
		is(fault.ErrUnreachable, "its interface (lo, if it is a blackhole) must be up and have a carrier: look whether its other end, or a port of the bridge, is up")
	}
}

// partOf returns the part of a network that a step is for, and how to call it.
func partOf(a plan.Action) (field, entry, about string) {
	switch a := a.(type) {
	case plan.Sysctl:
		return "sysctls", a.Name, cmp.Or(a.Name, sysctl.Name(a.Path))
	case plan.NewAltName:
		if a.Index > 1 {
			return "altnames", a.Names[0], "the name " + a.Names[0]
		}
	case plan.NewAddr:
		field, entry = "addresses", a.Addr.Prefix.String()
		return field, entry, "the address " + entry
	case plan.PutBack: // with an address that comes again
		if r, is := a.Kept.Route(); is && !r.Src.IsValid() {
			return "addresses", "", fmt.Sprintf("the route of others to %v, which comes again", r.Dst)
		} else if is {
			return "addresses", "", fmt.Sprintf("the route of others to %v with the source %v, which comes again", r.Dst, r.Src)
		}
		addr, _ := a.Kept.Addr()
		return "addresses", "", fmt.Sprintf("the address %v of others", addr.Prefix)
	case plan.NewNeigh:
		n := plan.Neigh{Neigh: a.Neigh}
		field, entry = "neighbors", n.Called()
		return field, entry, "the neighbor " + entry
	case plan.NewRoute:
		r := a.Route
		return "routes", plan.RouteEntry(r.Dst, r.Table, r.Metric), "the route to " + r.Dst.String()
	case plan.ReplaceRoute:
		return partOf(plan.NewRoute(a))
	case plan.NewNexthop:
		entry = strconv.FormatUint(uint64(a.Nexthop.ID), 10)
		return "nexthops", entry, "the nexthop " + entry
	case plan.ReplaceNexthop:
		return partOf(plan.NewNexthop(a))
	case plan.NewRule:
		entry = strconv.FormatUint(uint64(a.Rule.Priority), 10)
		return "rules", entry, "the rule of the priority " + entry
	case plan.Masquerade:
		return "masquerade", "", "masquerade"
	case plan.NewQdisc, plan.ChangeQdisc, plan.ReplaceQdisc:
		return "impair", "", "impair"
	}
	return "", "", ""
}

// missing says which of the needed capabilities the process lacks.
func missing() string {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return "osl needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
	}
	var have uint64
	if _, rest, ok := strings.Cut(string(b), "CapEff:"); ok {
		_, _ = fmt.Sscanf(strings.TrimSpace(rest), "%x", &have)
	}
	var lacks []string
	for _, c := range []struct {
		name string
		bit  uint
	}{{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}} {
		if have&(1<<c.bit) == 0 {
			lacks = append(lacks, c.name)
		}
	}
	if len(lacks) == 0 {
		return "the process has CAP_SYS_ADMIN and CAP_NET_ADMIN, but not over this namespace or file"
	}
	return "the process lacks " + strings.Join(lacks, " and ") +
		"; run it as root, or in a user namespace: unshare -Urnm"
}
