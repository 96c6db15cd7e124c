package osl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"golang.org/x/sys/unix"
)

// moveOut moves a link from the namespace of conn to the host, where its name
// is known to be free. The index it had is given back where that is free too.
// Alternative names that the host has taken meanwhile are left behind.
func (r *run) moveOut(conn *rtnl.Conn, home plan.SetLink) error {
	req := func() rtnl.Request { return home.Request(r.fd) }
	err := conn.One(r.ctx, req())
	if errors.Is(err, unix.EBUSY) {
		home.Link.NewIndex = 0
		err = conn.One(r.ctx, req())
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	var l rtnl.Link
	if gerr := conn.One(r.ctx, rtnl.GetLink(home.Link.Index, "", &l)); gerr != nil || len(l.AltName) == 0 {
		return err
	}
	for _, name := range l.AltName {
		if err := conn.One(r.ctx, rtnl.DelAltName(l.Index, name)); err != nil {
			return err
		}
	}
	if err := conn.One(r.ctx, req()); err != nil {
		for _, name := range l.AltName {
			_ = conn.One(r.ctx, rtnl.NewAltName(l.Index, name))
		}
		return err
	}
	host, err := r.space(plan.HostNS)
	if err != nil {
		return err
	}
	var back rtnl.Link
	if err := host.conn.One(r.ctx, rtnl.GetLink(0, home.Link.Name, &back)); err != nil {
		return err
	}
	for _, name := range l.AltName {
		if err := host.conn.One(r.ctx, rtnl.NewAltName(back.Index, name)); err != nil {
			slog.Warn("osl: an alternative name is taken on the host and was dropped",
				"interface", home.Link.Name, "name", name, "error", err)
		}
	}
	return nil
}

// free reports an error where the host has another link with the name of one that
// is to go home when the change has happened: there is no way back then.
func (r *run) free(ops []plan.Op) error {
	home := slices.DeleteFunc(slices.Clone(ops), func(op plan.Op) bool { _, is := op.Do.(plan.SetLink); return !is || !op.Last })
	if len(home) == 0 {
		return nil
	}
	taken, err := r.takenAtHome(home)
	for i := range taken {
		if taken[i] {
			return nameTaken(home[i])
		}
	}
	return err
}

func nameTaken(home plan.Op) error {
	return &Error{Interface: home.Dev, Err: ErrNameInUse,
		Hint: fmt.Sprintf("the host has another link %q; rename that one first", home.Do.(plan.SetLink).Link.Name)}
}

// homecoming keeps the links of several sandboxes, which end at the same time,
// from being given one name on the host. The kernel moves one at a time anyway.
var homecoming sync.Mutex

// sendHome brings links of a sandbox back to the host: all in one message
// batch, and one by one where that is refused. With force a link whose name is
// taken there comes home under another one.
func (r *run) sendHome(conn *rtnl.Conn, ops []plan.Op, force bool) error {
	if len(ops) == 0 {
		return nil
	}
	homecoming.Lock()
	defer homecoming.Unlock()
	taken, err := r.takenAtHome(ops)
	if err != nil {
		return err
	}
	var reqs []rtnl.Request
	for i := range ops {
		home := ops[i].Do.(plan.SetLink)
		if taken[i] {
			if !force {
				return nameTaken(ops[i])
			}
			pattern := fmt.Sprintf("%.11s.%%d", home.Link.Name)
			slog.Warn("osl: the name of a link is taken on the host; it comes home under another one",
				"interface", home.Link.Name, "name", pattern)
			home.Link.Name = pattern
			ops[i].Do = home
		}
		reqs = append(reqs, home.Request(r.fd))
	}
	errs, unknown := conn.Do(r.ctx, reqs...)
	var failed error
	for i := range ops {
		if unknown == nil && errs[i] == nil {
			r.gone = true
			continue
		}
		home := ops[i].Do.(plan.SetLink)
		err := r.moveOut(conn, home)
		if errors.Is(err, unix.ENODEV) {
			// It is out of the sandbox already: by the first message, though
			// that failed or its answer was lost, or by someone else's hand.
			err = r.restoreAtHome(home)
		}
		if err != nil {
			failed = errors.Join(failed, ofAction(ops[i], err))
			r.left = append(r.left, r.leftover(ops[i], err))
			continue
		}
		r.gone = true
	}
	return failed
}

// home sends those of a sandbox's links home that came from the host, whether or
// not their names are free there.
func (r *run) home(n *Namespace, links []rtnl.Link) error {
	fdb, err := homewardFDB(r.ctx, n.conn, links)
	if err != nil {
		return err
	}
	state := &plan.State{Neighs: fdb}
	// In the order in which they came: which of them finds its name taken, and
	// what number it gets then, is no matter of chance.
	inOrder(links)
	var ops, forget []plan.Op
	for i := range links {
		if t, ok := plan.ParseTag(links[i].Alias); ok && t.Origin == plan.Host {
			forget = append(forget, plan.Forget(n.space(), &links[i], t, state)...)
			ops = append(ops, plan.Remove(n.space(), &links[i], t, state)...)
		}
	}
	if err = r.forward(forget); err == nil {
		err = r.sendHome(n.conn, ops, true)
	}
	return err
}

// homewardFDB reads osl's forwarding entries of those links that are vxlans of
// the host.
func homewardFDB(ctx context.Context, conn *rtnl.Conn, links []rtnl.Link) (list []rtnl.Neigh, err error) {
	for i := range links {
		if t, _ := plan.ParseTag(links[i].Alias); t.Origin != plan.Host || links[i].Kind != "vxlan" {
			continue
		}
		part, err := conn.FDB(ctx, links[i].Index)
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	return list, nil
}

// last carries out the steps that nothing takes back. One that fails is tried
// once more, and the others are done all the same.
func (r *run) last(ops []plan.Op) (failed error) {
	for len(ops) > 0 {
		key := ops[0].NS
		var home, rest, keys []plan.Op
		for len(ops) > 0 && ops[0].NS == key {
			switch ops[0].Do.(type) {
			case plan.SetLink:
				home = append(home, ops[0])
			case plan.Unpin:
				keys = append(keys, ops[0])
			default:
				rest = append(rest, ops[0])
			}
			ops = ops[1:]
		}
		n, err := r.space(key)
		if err == nil {
			err = r.sendHome(n.conn, home, r.forced)
		}
		if err != nil && !r.gone {
			return err
		}
		failed = errors.Join(failed, err, r.remove(n, rest))
		if failed == nil {
			failed = r.unpinLast(n, keys)
		}
	}
	return failed
}

// remove deletes links, together, and again one by one what that did not.
func (r *run) remove(n *Namespace, ops []plan.Op) (failed error) {
	if len(ops) == 0 || n == nil {
		return nil
	}
	reqs := make([]rtnl.Request, len(ops))
	for i, op := range ops {
		reqs[i] = op.Do.(plan.Message).Request(r.fd)
	}
	errs, unknown := n.conn.Do(r.ctx, together(ops, reqs)...)
	for i, op := range ops {
		err := errs[i]
		if len(ops) > 1 && err == nil {
			err = errs[len(ops)]
		}
		if unknown != nil || err != nil && !plan.Absent(err) {
			_, err = n.conn.Surely(r.ctx, reqs[i])
		}
		if err != nil && !plan.Absent(err) {
			failed = errors.Join(failed, ofAction(op, err))
			r.left = append(r.left, r.leftover(op, err))
			continue
		}
		r.gone = true
	}
	return failed
}

// together returns the requests that delete links in one go: each deletion
// waits for a grace period of the kernel, that of a group for one in all. They
// are put into a group of their own for it.
func together(ops []plan.Op, reqs []rtnl.Request) []rtnl.Request {
	if len(ops) == 1 {
		return reqs
	}
	group := rand.Uint32() | 1<<31
	var list []rtnl.Request
	for _, op := range ops {
		list = append(list, rtnl.SetLink(rtnl.LinkSet{Index: op.Do.(plan.DelLink).Index, Group: group}))
	}
	return append(list, rtnl.DelGroup(group))
}

// restoreAtHome gives a link that went home its first settings, where the
// kernel moved it but did not do the rest. It does nothing for a link that is
// not on the host at all. What is left of the tag, or its index and name, tell
// it from others.
func (r *run) restoreAtHome(home plan.SetLink) error {
	host, err := r.space(plan.HostNS)
	if err != nil {
		return err
	}
	links, err := host.conn.Links(r.ctx)
	if err != nil {
		return err
	}
	for i := range links {
		l := &links[i]
		t, tagged := plan.ParseTag(l.Alias)
		ours := tagged && t.Origin == plan.Host && t.Index == home.Link.NewIndex
		if !ours && !(l.Index == home.Link.NewIndex && l.Name == home.Link.Name) {
			continue
		}
		set := home.Link
		set.Index, set.NewIndex = l.Index, 0
		if set.Name == l.Name {
			set.Name = ""
		}
		_, err := host.conn.Surely(r.ctx, rtnl.SetLink(set))
		return err
	}
	return nil
}

// takenAtHome reports, for each link that goes home, whether another link of
// the host has its name. A name that is taken must be known before the move:
// the kernel would move the link under its old name and then fail.
func (r *run) takenAtHome(ops []plan.Op) ([]bool, error) {
	host, err := r.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	found := make([]rtnl.Link, len(ops))
	reqs := make([]rtnl.Request, len(ops))
	for i, op := range ops {
		reqs[i] = rtnl.GetLink(0, op.Do.(plan.SetLink).Link.Name, &found[i])
	}
	errs, err := host.conn.Do(r.ctx, reqs...)
	if err != nil {
		return nil, err
	}
	taken := make([]bool, len(ops))
	for i := range found {
		if errs[i] != nil && !errors.Is(errs[i], unix.ENODEV) {
			return nil, ofAction(ops[i], errs[i])
		}
		taken[i] = found[i].Index != 0
	}
	return taken, nil
}

// Destroy sends the links that came from the host home, in one batch, and
// removes the sandbox with everything that osl made in it. It succeeds where
// the sandbox is gone already. If a link can not go home, the sandbox stays.
//
// A namespace that another program made stays, with its key and what else is in
// it; so does the host's own. Destroy takes out what osl put in, and unpins a key
// at which osl pinned it ([GetSandboxForExternalKey], [NewSandbox]).
//
// Where other handles of the sandbox are open, in this process or another, or
// a process is in it, the kernel keeps what osl made there, and its other ends
// elsewhere, until they are closed.
func (n *Namespace) Destroy() error {
	const op = "destroy the sandbox"
	ctx := context.Background()
	if _, err := n.handle(); err != nil {
		return nil
	}
	unlock, err := n.lockToEnd(ctx)
	if err != nil {
		return fail(op, n.key, "", err)
	}
	defer unlock()
	return fail(op, n.key, "", n.destroyLocked(ctx))
}

// destroyLocked does the work of Destroy; the caller holds the lock.
func (n *Namespace) destroyLocked(ctx context.Context) error {
	s := &plan.State{}
	var err error
	if n.host {
		if err := n.healLocked(ctx); err != nil {
			return err
		}
	}
	if s.Links, err = n.conn.Links(ctx); err != nil {
		return err
	}
	if stay := n.stays(s.ByIndex(1)); stay != nil {
		return n.leave(ctx, stay)
	}
	r := newRun(ctx, n)
	defer r.close()
	unmark := func() {}
	if slices.ContainsFunc(s.Links, func(l rtnl.Link) bool { t, _ := plan.ParseTag(l.Alias); return t.Origin == plan.Host }) {
		if unmark, err = n.mark(ctx, plan.Commit{}); err != nil {
			return err
		}
	}
	noted := records(s.ByIndex(1))
	if err = r.home(n, s.Links); err != nil { // those that are home have no use for what they lack
		if left := r.back(); len(left) > 0 {
			err = &Error{Err: err, Left: left}
		}
	}
	if err == nil {
		err = n.settleRecords(ctx, noted) // what a dead process did elsewhere
	}
	if err != nil {
		unmark()
		return err
	}
	// Someone may have unmounted the key, and left the file; then this handle
	// was the last to keep the links. What another process put at the key
	// since is not touched.
	if netns.At(n.key, n.id) || isDead(standing(n.key)) {
		if err := netns.Unpin(n.key); err != nil {
			return err
		}
	}
	return n.Close()
}

// mark notes on the sandbox that it is being destroyed, before links leave it:
// whoever finds it so after this process died finishes the work. The returned
// function takes the mark back.
func (n *Namespace) mark(ctx context.Context, c plan.Commit) (unmark func(), err error) {
	lo, err := n.loopback(ctx)
	if err != nil {
		return func() {}, err
	}
	if stay := n.stays(&lo); stay != nil {
		ops, err := stay.plan(ctx, n)
		if err != nil {
			return func() {}, err
		}
		return n.markOut(ctx, ops, c)
	}
	tag, _ := plan.ParseSandboxTag(lo.Alias)
	if tag.UnderWay {
		return func() {}, nil
	}
	tag.UnderWay, tag.Commit = true, c
	marked, before := tag.Fitting().String(), lo.Alias
	err = n.conn.One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Alias: &marked}))
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if err := n.conn.One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Alias: &before})); err != nil {
			slog.Warn("osl: the mark of a sandbox that could not be destroyed was not taken back", "key", n.key, "error", err)
		}
	}, err
}

// space is the key of the sandbox in a plan.
func (n *Namespace) space() string {
	if n.host {
		return plan.HostNS
	}
	return n.key
}
