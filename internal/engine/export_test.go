//go:build linux

package engine

import (
	"context"
	"time"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
)

// What the tests reach beside what the root does. They are in a package of their
// own, since they use the root, which uses this one.

var (
	OpenAt    = open
	DialHost  = dialHost
	OpenHost  = openHost
	ReadState = readState
	NoIPv6    = noIPv6
	NewRun    = newRun
	Lock      = lock
	Prepare   = prepare
)

const LockWait = lockWait

func ForgetLock(key string)     { locks.Forget(key) }
func KeepLocks(d time.Duration) { locks.Linger = d }

// KeepHostSocket says how long a socket on the host is kept, and drops the one that is.
func KeepHostSocket(d time.Duration) (before time.Duration) {
	before, hostConns.lasts = hostConns.lasts, d
	hostConns.drop()
	return before
}

func (n *Namespace) Conn() *netlink.Conn { return n.conn }

func (p *prepared) Run() *run                              { return p.run }
func (p *prepared) Close()                                 { p.close() }
func (p *prepared) Build() ([]plan.Op, plan.Commit, error) { return p.build() }

func (r *run) Close()                                { r.close() }
func (r *run) Do(ops []plan.Op, c plan.Commit) error { return r.do(ops, c) }
func (r *run) Forward(ops []plan.Op) error           { return r.forward(ops) }
func (r *run) Back() []string                        { return r.back() }
func (r *run) Tidy(ops []plan.Op) bool               { return r.tidy(ops) }
func (r *run) SetOps(ops []plan.Op)                  { r.ops = ops }
func (r *run) AddUndo(ops []plan.Op)                 { r.undo = append(r.undo, ops) }
func (r *run) FD(key string) int                     { return r.fd(key) }
func (r *run) Open(key string) *Namespace            { return r.spaces[key] }
func (r *run) Setting(ns, path string, index int) (string, bool) {
	return r.setting(ns, path, index)
}
func (r *run) HostLink(name string, write bool) (*plan.HostLink, error) {
	return r.hostLink(name, write)
}

// MarkToEnd does of a Down what comes before the first sandbox ends.
func MarkToEnd(ctx context.Context, keys ...string) error {
	d := doomed{run: newRun(ctx)}
	defer d.close()
	_, ids := inLockOrder(keys)
	if err := d.find(ctx, keys, ids, true); err != nil {
		return err
	}
	c := plan.NewCommit(d.open[0].key)
	if err := d.noteParts(ctx, c, false); err != nil {
		return err
	}
	return d.leaderLast(func(i int) error { _, err := d.open[i].mark(ctx, &d.lo[i], c.For(d.open[i].key)); return err })
}
