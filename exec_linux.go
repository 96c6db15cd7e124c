package osl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"golang.org/x/sys/unix"
)

// undoTimeout bounds the way back after a failure. It is a time of its own:
// the operation's may be what ran out.
const undoTimeout = 30 * time.Second

// run carries out one plan. It keeps the inverse of each step that was done,
// and of each that may have been.
type run struct {
	ctx    context.Context
	spaces map[string]*Namespace // open namespaces by key; the host's is plan.HostNS
	own    []*Namespace          // those that the run opened for itself
	fds    map[string]int
	links  map[linkID]rtnl.Link // as ReadLink found them
	undo   [][]plan.Op
	made   []*Namespace // sandboxes that the run made, undone by destroying them
}

type linkID struct {
	key   string
	index int
}

func newRun(ctx context.Context, spaces ...*Namespace) *run {
	r := &run{ctx: ctx, spaces: map[string]*Namespace{}, fds: map[string]int{}, links: map[linkID]rtnl.Link{}}
	for _, n := range spaces {
		r.spaces[n.space()] = n
	}
	return r
}

// close lets go of what the run opened for itself.
func (r *run) close() {
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	for _, n := range r.own {
		n.Close()
	}
}

// space returns the open namespace of a key.
func (r *run) space(key string) (*Namespace, error) {
	if n := r.spaces[key]; n != nil {
		return n, nil
	}
	if key != plan.HostNS {
		return nil, fmt.Errorf("%w: the sandbox %s is not open", ErrClosed, key)
	}
	conn, err := dialHost()
	if err != nil {
		return nil, err
	}
	n := &Namespace{host: true, conn: conn}
	r.spaces[key] = n
	r.own = append(r.own, n)
	return n, nil
}

// fd returns a descriptor of a key's namespace, -1 if there is none: the
// kernel refuses that one by itself.
func (r *run) fd(key string) int {
	if key == plan.HostNS {
		if fd, err := netns.Home(); err == nil {
			return fd
		}
		return -1
	}
	if fd, ok := r.fds[key]; ok {
		return fd
	}
	n := r.spaces[key]
	if n == nil {
		return -1
	}
	fd, err := n.conn.NSFD()
	if err != nil {
		return -1
	}
	r.fds[key] = fd
	return fd
}

// do carries out a plan, or nothing of it: after a failure the steps that were
// done are undone, the last one first. What can not be undone is in the error.
func (r *run) do(ops []plan.Op) error {
	err := r.forward(ops)
	if err == nil {
		return nil
	}
	left := r.back()
	if len(left) > 0 {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Err: err}
		}
		e.Left = append(e.Left, left...)
		return e
	}
	return err
}

func (r *run) forward(ops []plan.Op) error {
	for len(ops) > 0 {
		n := 0
		for n < len(ops) && isMessage(ops[n]) && ops[n].NS == ops[0].NS {
			n++
		}
		if n > 0 {
			if err := r.send(ops[:n]); err != nil {
				return err
			}
			ops = ops[n:]
			continue
		}
		if err := r.step(ops[0]); err != nil {
			return ofAction(ops[0], err)
		}
		r.undo = append(r.undo, ops[0].Undo)
		ops = ops[1:]
	}
	return nil
}

func isMessage(op plan.Op) bool {
	switch op.Do.(type) {
	case plan.Message, plan.ReadLink:
		return true
	}
	return false
}

// send sends operations of one namespace together and remembers what undoes
// those that the kernel did. All of them ran, also those after a failed one.
func (r *run) send(ops []plan.Op) error {
	n, err := r.space(ops[0].NS)
	if err != nil {
		return ofAction(ops[0], err)
	}
	reqs := make([]rtnl.Request, len(ops))
	read := make([]rtnl.Link, len(ops))
	for i, op := range ops {
		if m, ok := op.Do.(plan.Message); ok {
			reqs[i] = m.Request(r.fd)
		} else {
			reqs[i] = rtnl.GetLink(op.Do.(plan.ReadLink).Index, "", false, &read[i])
		}
	}
	errs, unknown := n.conn.Do(r.ctx, reqs...)
	var first error
	for i, op := range ops {
		if read[i].Index != 0 {
			r.links[linkID{op.NS, read[i].Index}] = read[i]
		}
		if errs[i] == nil || op.Half || unknown != nil {
			r.undo = append(r.undo, op.Undo)
		}
		if errs[i] != nil && first == nil {
			first = ofAction(op, errs[i])
		}
	}
	if unknown != nil {
		return ofAction(ops[0], unknown)
	}
	return first
}

// step carries out an operation that is no netlink message.
func (r *run) step(op plan.Op) error {
	switch a := op.Do.(type) {
	case plan.MakeNS:
		n, err := makeNamespace(r.ctx, op.NS, a.Tag)
		if err != nil {
			return err
		}
		r.spaces[op.NS] = n
		r.own = append(r.own, n)
		r.made = append(r.made, n)
		return nil
	case plan.NewTun:
		return r.inside(op.NS, func() error { return makeTun(a) })
	case plan.IPv6:
		return r.ipv6(op.NS, a)
	case plan.Verify:
		return r.verify(op.NS, a)
	case plan.Announce:
		return r.announce(op.NS, a)
	case plan.Sysctl:
		path := a.Path
		if strings.Contains(path, "%s") {
			path = fmt.Sprintf(path, r.linkName(op.NS, a.Index, op.Dev))
		}
		return r.inside(op.NS, func() error {
			_, err := sysctl.Set(path, a.Value)
			return err
		})
	}
	return fmt.Errorf("unknown operation %T", op.Do)
}

func (r *run) linkName(key string, index int, otherwise string) string {
	if l, ok := r.links[linkID{key, index}]; ok {
		return l.Name
	}
	return otherwise
}

// inside runs f on a thread in the namespace of a key.
func (r *run) inside(key string, f func() error) error {
	return netns.Do(r.fd(key), f)
}

// ipv6 turns a link's IPv6 on or off, by the state that was read before. It
// fails rather than leave IPv6 on where nobody asked for it.
func (r *run) ipv6(key string, a plan.IPv6) error {
	id := linkID{key, a.Index}
	l, ok := r.links[id]
	switch {
	case !ok:
		return fmt.Errorf("%w: the link is gone", ErrNotFound)
	case !l.Inet.HasIPv6State && a.On && l.MTU > 0 && l.MTU < 1280:
		return fmt.Errorf("%w: IPv6 needs an MTU of 1280 bytes, the link has %d", ErrInvalid, l.MTU)
	case !l.Inet.HasIPv6State && a.On:
		return fmt.Errorf("%w: the kernel has no IPv6 for this link", ErrUnsupported)
	case l.Inet.DisableIPv6 == !a.On:
		return nil
	}
	err := r.inside(key, func() error {
		conf := "ipv6/conf/" + l.Name + "/"
		settings := [][2]string{{"disable_ipv6", "1"}}
		if a.On {
			settings = [][2]string{{"accept_dad", "0"}, {"ndisc_notify", "1"}, {"disable_ipv6", "0"}}
		}
		for _, s := range settings {
			if _, err := sysctl.Set(conf+s[0], s[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		l.Inet.DisableIPv6 = !a.On
		r.links[id] = l
	}
	return err
}

// verify compares a link with what it was told to be.
func (r *run) verify(key string, a plan.Verify) error {
	n, err := r.space(key)
	if err != nil {
		return err
	}
	var l rtnl.Link
	if err := n.conn.One(r.ctx, rtnl.GetLink(a.Index, "", false, &l)); err != nil {
		return err
	}
	if a.MAC != nil && !bytes.Equal(a.MAC, l.MAC) {
		return fmt.Errorf("the kernel did not keep the hardware address %v; the link has %v", a.MAC, l.MAC)
	}
	if a.MTU != 0 && a.MTU != l.MTU {
		return fmt.Errorf("the kernel did not keep the MTU %d; the link has %d", a.MTU, l.MTU)
	}
	if len(a.Addrs) == 0 {
		return nil
	}
	addrs, err := n.settledAddrs(r.ctx, &l)
	if err != nil {
		return err
	}
	for _, p := range a.Addrs {
		if !slices.ContainsFunc(addrs, func(h rtnl.Addr) bool { return h.Prefix == p }) {
			return fmt.Errorf("the kernel did not keep the address %v", p)
		}
	}
	return nil
}

// settleTime bounds the waiting for what the kernel does a moment after a link
// went up. It is microseconds on a quiet machine, but has to wait its turn for
// the lock that every change of a link on the machine takes.
const settleTime = time.Second

// settledAddrs reads the addresses of a link. The kernel gives a link that has
// gone up its IPv6 link-local address in the background; until it is usable,
// the link is not what its user expects.
func (n *Namespace) settledAddrs(ctx context.Context, l *rtnl.Link) ([]rtnl.Addr, error) {
	for end := time.Now().Add(settleTime); ; time.Sleep(100 * time.Microsecond) {
		addrs, err := n.conn.Addrs(ctx, l.Index)
		if err != nil || l.Flags&unix.IFF_LOWER_UP == 0 || time.Now().After(end) ||
			!slices.ContainsFunc(addrs, func(a rtnl.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }) {
			return addrs, err
		}
	}
}

// announce sets the hardware address that the link has: that makes the kernel
// send its ARP and neighbour announcements.
func (r *run) announce(key string, a plan.Announce) error {
	n, err := r.space(key)
	if err != nil {
		return err
	}
	l := r.links[linkID{key, a.Index}]
	if len(l.MAC) != 6 {
		return nil
	}
	for end := time.Now().Add(settleTime); a.Wait; time.Sleep(200 * time.Microsecond) {
		if err := n.conn.One(r.ctx, rtnl.GetLink(a.Index, "", false, &l)); err != nil {
			return err
		}
		if l.Flags&unix.IFF_LOWER_UP == 0 || l.Oper || time.Now().After(end) {
			break
		}
	}
	err = n.conn.One(r.ctx, rtnl.SetLink(rtnl.LinkSet{Index: a.Index, MAC: l.MAC}))
	if err != nil {
		slog.Debug("osl: the addresses were not announced again", "key", key, "interface", l.Name, "error", err)
	}
	return nil
}

// back undoes everything that was done and returns what could not be.
func (r *run) back() (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), undoTimeout)
	defer cancel()
	r.ctx = ctx
	for i := len(r.undo) - 1; i >= 0; i-- {
		for _, op := range r.undo[i] {
			if err := r.revert(op); err != nil && !plan.Absent(err) {
				left = append(left, r.leftover(op, err))
			}
		}
	}
	for _, n := range r.made {
		if err := n.destroyLocked(ctx, n.conn); err != nil {
			left = append(left, fmt.Sprintf("the sandbox %s (%v), remove it with: osl rm %s", n.key, err, nameOf(n.key)))
		}
	}
	return left
}

// revert carries out one inverse.
func (r *run) revert(op plan.Op) error {
	if home, ok := op.Do.(plan.SetLink); ok && home.To != nil {
		n, err := r.space(op.NS)
		if err != nil {
			return err
		}
		return r.moveOut(n.conn, home)
	}
	if !isMessage(op) {
		return r.step(op)
	}
	n, err := r.space(op.NS)
	if err != nil {
		return err
	}
	return n.conn.One(r.ctx, op.Do.(plan.Message).Request(r.fd))
}

func (r *run) leftover(op plan.Op, err error) string {
	commands := plan.Commands(op, commandName)
	if len(commands) == 0 {
		return fmt.Sprintf("%s in %s (%v)", op.Dev, nameOf(op.NS), err)
	}
	return fmt.Sprintf("this could not be undone (%v), try: %s", err, strings.Join(commands, " && "))
}

// commandName is how the ip command knows a sandbox.
func commandName(key string) (string, bool) {
	n := nameOf(key)
	return n, n != key && BasePath() == "/run"
}
