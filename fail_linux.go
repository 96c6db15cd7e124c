package osl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/where"
)

// fail makes the *Error of an operation. A cause that is one already keeps
// what it says, and gets what it lacks.
func fail(op, key, dev string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		c := *e
		c.Op = op
		if field, entry := where.Of(err); field != "" {
			if in, _ := where.Of(e.Err); in == "" { // it stood around e
				c.Err = where.In(field, entry, e.Err)
			}
		}
		if c.Key == "" {
			c.Key = key
		}
		if c.Interface == "" {
			c.Interface = dev
		}
		return &c
	}
	e = &Error{Op: op, Key: key, Interface: dev, Err: err}
	var k *rtnl.Error
	if errors.As(err, &k) {
		e.Kernel, e.Err = k.Text, k.Errno
	}
	var p *plan.Problem
	if errors.As(err, &p) {
		e.Key, e.Interface = p.Key, p.Dev
		e.Err = where.In(p.Field, p.Entry, because(problems[p.Kind], errors.New(p.Text)))
		if p.Kind == plan.Conflict {
			e.Err = where.In(p.Field, p.Entry, worded{p.Text, ErrAddressConflict})
		}
		if p.Away != nil {
			e.Hint = "take that away with: " + strings.Join(plan.Commands(*p.Away, shell.For(BasePath())), " && ")
		}
	}
	e.classify()
	return e
}

// caused is a sentinel with its cause.
type caused struct{ sentinel, cause error }

// because gives a cause its sentinel. What both say is said once.
func because(sentinel, cause error) error { return caused{sentinel, cause} }

func (c caused) Unwrap() []error { return []error{c.sentinel, c.cause} }

// sayNoMore are the error numbers that say no more than their sentinel.
var sayNoMore = map[unix.Errno]bool{unix.EINVAL: true, unix.EEXIST: true, unix.EPERM: true, unix.EACCES: true,
	unix.ENOENT: true, unix.ESRCH: true, unix.EOPNOTSUPP: true, unix.ETIMEDOUT: true}

func (c caused) Error() string {
	sentinel, cause := c.sentinel.Error(), c.cause.Error()
	if e, ok := c.cause.(unix.Errno); ok && sayNoMore[e] {
		return sentinel
	}
	if strings.Contains(cause, sentinel) {
		return cause
	}
	return sentinel + ": " + cause
}

// worded says in words what the kernel says by a number.
type worded struct {
	text string
	err  error
}

func (r worded) Error() string { return r.text }
func (r worded) Unwrap() error { return r.err }

var problems = map[plan.ProblemKind]error{
	plan.Invalid: ErrInvalid, plan.NotFound: ErrNotFound, plan.Exists: ErrExists,
	plan.NameInUse: ErrNameInUse, plan.Conflict: ErrAddressConflict,
	plan.Unreachable: ErrUnreachable,
}

var sentinels = []error{ErrUnsupported, ErrClosed, ErrNotNamespace, ErrNotFound, ErrExists, ErrNameInUse,
	ErrInvalid, ErrAddressConflict, ErrUnreachable, ErrPermission, ErrTimeout}

// classify gives the cause its sentinel, where it has none, and a hint.
func (e *Error) classify() {
	for _, s := range sentinels {
		if errors.Is(e.Err, s) {
			return
		}
	}
	is := func(sentinel error) { e.Err = because(sentinel, e.Err) }
	switch err := e.Err; {
	case errors.Is(err, netns.ErrNotNamespace):
		is(ErrNotNamespace)
		e.Hint = "a key is the path of a network namespace; list them with: osl ls"
	case errors.Is(err, fs.ErrPermission):
		is(ErrPermission)
		e.Hint = missing()
	case errors.Is(err, unix.EROFS):
		is(ErrPermission)
		e.Hint = "a file system is read-only; IPv6 can not be turned off or on while /proc/sys is"
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(e.Op, "open the sandbox"):
		e.Err, e.Hint = because(ErrNotFound, worded{"there is no such sandbox", err}), "list the sandboxes with: osl ls"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENXIO):
		is(ErrNotFound)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		is(ErrUnsupported)
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		is(ErrUnreachable)
	case errors.Is(err, fs.ErrExist):
		is(ErrExists)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		is(ErrTimeout)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENAMETOOLONG):
		is(ErrInvalid)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		e.Hint = "a limit is reached: see user.max_net_namespaces, fs.mount-max and ulimit -n"
	}
}

// ofAction gives the error of one operation of a plan the sentinel that its
// kind calls for.
func ofAction(op plan.Op, err error) error {
	var said *Error
	if errors.As(err, &said) {
		return err
	}
	e := &Error{Key: op.NS, Interface: op.Dev, Err: err}
	var k *rtnl.Error
	if errors.As(err, &k) {
		e.Kernel, e.Err = k.Text, k.Errno
	}
	is := func(sentinel error, hint string) {
		e.Err, e.Hint = because(sentinel, e.Err), hint
	}
	switch a := op.Do.(type) {
	case plan.NewLink, plan.SetLink, plan.NewTun:
		l, isNew := a.(plan.NewLink)
		switch {
		// A name that is taken the kernel does not explain.
		case errors.Is(err, unix.EEXIST) && isNew && l.Link.Kind == "vxlan" && strings.Contains(e.Kernel, "VNI"):
			is(ErrExists, "a VNI is there once for each UDP port of the namespace that the tunnel is in")
			e.Err = fmt.Errorf("the VNI %d: %w", l.Link.Data.VNI, e.Err)
		case errors.Is(err, unix.EEXIST) && isNew && l.Link.Kind == "vlan" && strings.Contains(e.Kernel, "VLAN"):
			is(ErrExists, "a tag is there once for each parent")
			e.Err = fmt.Errorf("the tag %d: %w", l.Link.Data.VLAN, e.Err)
		case errors.Is(err, unix.EEXIST):
			is(ErrNameInUse, "")
			if s, ok := a.(plan.SetLink); ok && s.Link.Name != "" {
				e.Err = fmt.Errorf("%q: %w", s.Link.Name, e.Err)
			}
			if isNew && l.Link.Peer != nil {
				e.Hint = fmt.Sprintf("it may be the name of its other end, %q, that is taken", l.Link.Peer.Name)
			}
		case errors.Is(err, unix.EOPNOTSUPP):
			is(ErrUnsupported, "the kernel lacks this type of link")
		}
	case plan.Sysctl:
		switch {
		case errors.Is(err, sysctl.ErrChanged):
			is(ErrInvalid, "")
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
			e.Err = worded{fmt.Sprintf("the kernel does not take %q", a.Value), err}
			is(ErrInvalid, "")
		}
	case plan.NewRoute, plan.ReplaceRoute:
		if errors.Is(err, unix.EINVAL) && strings.Contains(strings.ToLower(e.Kernel), "gateway") ||
			errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETDOWN) {
			is(ErrUnreachable, "a next hop must be in the subnet of an address of an interface that is up")
		}
	}
	e.classify()
	if field, entry, about := partOf(op.Do); field != "" {
		e.Err = where.In(field, entry, fmt.Errorf("%s: %w", about, e.Err))
	}
	return e
}

// partOf returns the part of a network that a step is for, and how to call it.
func partOf(a plan.Action) (field, entry, about string) {
	switch a := a.(type) {
	case plan.Sysctl:
		return "sysctls", a.Name, cmp.Or(a.Name, sysctl.Name(a.Path))
	case plan.NewAddr:
		field, entry = "addresses", a.Addr.Prefix.String()
		return field, entry, "the address " + entry
	case plan.NewNeigh:
		field, entry = "neighbors", a.Neigh.IP.String()
		return field, entry, "the neighbor " + entry
	case plan.NewRoute:
		field, entry = "routes", a.Route.Dst.String()
		return field, entry, "the route to " + entry
	case plan.ReplaceRoute:
		return partOf(plan.NewRoute(a))
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
