//go:build linux

package engine

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/internal/where"
)

// nameOnHost returns what a network is called on the host. Each base path has networks of its
// own, and two may have one name: beside those of the machine's base path, they say which.
func nameOnHost(ctx context.Context, network string) string {
	path := whereIs(base.PathIn(ctx))
	if network == "" || base.IsMachine(path) {
		return network
	}
	name := network + "@" + path
	// The alias of a link has 255 bytes for all that is said there, and so has a table's name.
	if len(url.QueryEscape(name)) > 90 || len(plan.TableOf(name)) > 255 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(path))
		name = fmt.Sprintf("%s@%x", network, h.Sum(nil))
	}
	return name
}

// nameThere returns what a network is called on the host that has something there, as its
// sandboxes say: an earlier version called it by its name alone in each base path. That
// may be one of the machine's base path by now, and is left to it then.
func nameThere(ctx context.Context, conn *netlink.Conn, network string) (string, error) {
	name := nameOnHost(ctx, network)
	if name == network {
		return name, nil
	}
	links, err := conn.Links(ctx)
	if err != nil {
		return "", err
	}
	fd, err := netns.Home()
	if err != nil {
		return "", err
	}
	for _, n := range []string{name, network} {
		is := slices.ContainsFunc(links, func(l rtnl.Link) bool {
			t, _ := plan.ParseTag(l.Alias)
			return t.OnHostFor(n) || l.Index == 1 && slices.ContainsFunc(plan.HostNotes(&l), func(x plan.HostNote) bool { return x.Network == n })
		})
		if !is {
			masq, odd, err := readMasquerade(ctx, fd, plan.TableOf(n))
			if err != nil {
				return "", err
			}
			is = odd || len(masq) > 0
		}
		if is && n == network {
			var of []string
			of, err = ofNetwork(base.In(ctx, base.Machine()), network, nil)
			is = len(of) == 0
		}
		if is || err != nil {
			return n, err
		}
	}
	return name, nil
}

// named has what is wanted of the host bear the name that the network has there, where the
// aliases of its links have room for that.
func (p *prepared) named(hostName string) error {
	p.hostName = hostName
	for i := range p.want {
		w := &p.want[i]
		if w.Key != plan.HostNS || w.Network == "" {
			continue
		}
		w.Network = p.hostName
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			f.Owner = p.hostName
			t := plan.Tag{Origin: plan.Made, Source: f.SourceName(), Born: time.Now().UnixMicro(), Network: f.Owner, Note: f.Note, Entries: true, MTU: f.MTU}
			if over := len(t.String()) - plan.MaxAlias; over > 0 {
				return fault.At(want.HostName, f.Name, where.In("note", "", fault.Invalidf("the note, and the name of the network, take %d bytes too many of the link's alias", over)))
			}
		}
	}
	return nil
}

// openOnHost adds the host to what is wanted where it is not listed and the network had
// something there before, which the sandboxes say that are locked and read.
func (p *prepared) openOnHost(ctx context.Context, write bool) error {
	if !p.hadOnHost() {
		return nil
	}
	host, err := p.run.space(plan.HostNS)
	if err != nil {
		return err
	}
	name, err := nameThere(ctx, host.conn, p.name)
	if err != nil {
		return err
	}
	if err := p.named(name); err != nil {
		return err
	}
	if slices.ContainsFunc(p.want, func(w plan.Sandbox) bool { return w.Key == plan.HostNS }) {
		return nil
	}
	p.want = append(p.want, plan.Sandbox{Key: plan.HostNS, Network: p.hostName, Prune: true})
	if write {
		if err := p.locks.take(ctx, base.HostKey()); err != nil {
			return err
		}
	}
	return p.openSandbox(ctx, plan.HostNS, lockID{}, write, true)
}

// hadOnHost reports whether a sandbox says that its network has something on the
// host.
func (p *prepared) hadOnHost() bool {
	for _, s := range p.have {
		if lo := s.ByIndex(1); lo != nil && p.name != "" {
			if t, made := plan.ParseSandboxTag(lo.Alias); made && t.OnHost && t.Network == p.name {
				return true
			}
		}
	}
	return false
}

// readOnHost reads of the host what is the network's, and the links that have a name
// which something is to have there, with what others have on these, which is put back where
// a change fails: of all else the plan knows nothing.
func readOnHost(ctx context.Context, conn *netlink.Conn, network string, names map[string]bool) (*plan.State, error) {
	all, err := readState(ctx, conn, true)
	if err != nil {
		return nil, err
	}
	s := &plan.State{}
	own := map[int]bool{}
	for _, l := range all.Links {
		t, _ := plan.ParseTag(l.Alias)
		if l.Index == 1 {
			s.Notes = plan.HostNotes(&l)
		}
		if names[l.Name] || t.OnHostFor(network) {
			s.Links = append(s.Links, l)
		} else {
			s.Hidden = append(s.Hidden, l.Name)
		}
		own[l.Index] = t.OnHostFor(network) || names[l.Name] && t.Origin == plan.Far && t.Network == ""
	}
	s.Addrs = slices.DeleteFunc(all.Addrs, func(a rtnl.Addr) bool { return !own[a.Index] })
	s.Routes = slices.DeleteFunc(all.Routes, func(r rtnl.Route) bool { return !own[r.Index] })
	hops := map[uint32]bool{}
	for _, h := range all.OtherNexthops {
		if own[h.Index] {
			hops[h.ID] = true
		}
	}
	for _, h := range all.OtherNexthops {
		if hops[h.ID] || slices.ContainsFunc(h.Group, func(m rtnl.Member) bool { return hops[m.ID] }) {
			hops[h.ID] = true
			s.OtherNexthops = append(s.OtherNexthops, h)
		}
	}
	s.Others = slices.DeleteFunc(all.Others, func(r rtnl.Route) bool { return !r.Touches(own) && !hops[r.Nexthop] })
	s.Neighs = slices.DeleteFunc(all.Neighs, func(n rtnl.Neigh) bool { return !own[n.Index] })
	s.Qdiscs = slices.DeleteFunc(all.Qdiscs, func(q rtnl.Qdisc) bool { return !own[q.Index] })
	fd, err := netns.Home()
	if err != nil {
		return nil, err
	}
	s.Masq, s.MasqOdd, err = readMasquerade(ctx, fd, plan.TableOf(network))
	return s, err
}

// madeOnHost returns the steps that delete what osl made on the host for a network.
func (d *doomed) madeOnHost(ctx context.Context, listed bool) (ops []plan.Op, err error) {
	had := slices.ContainsFunc(d.lo, func(lo rtnl.Link) bool {
		t, made := plan.ParseSandboxTag(lo.Alias)
		return made && t.OnHost && t.Network == d.name
	})
	if !listed && !had || d.name == "" {
		return nil, nil
	}
	host, err := d.run.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	name := nameOnHost(ctx, d.name)
	if had {
		if name, err = nameThere(ctx, host.conn, d.name); err != nil {
			return nil, err
		}
	}
	s, err := readOnHost(ctx, host.conn, name, nil)
	if err != nil {
		return nil, err
	}
	for i := range s.Links {
		if t, _ := plan.ParseTag(s.Links[i].Alias); t.Origin == plan.Made {
			ops = append(ops, plan.Op{NS: plan.HostNS, Dev: s.Links[i].Name, Do: plan.DelLink{Index: s.Links[i].Index}, Last: true})
		}
	}
	if len(s.Masq) > 0 || s.MasqOdd {
		table := plan.TableOf(name)
		ops = append(ops, plan.Op{NS: plan.HostNS, Do: plan.Masquerade{Table: table}, Undo: []plan.Op{{NS: plan.HostNS, Do: plan.Masquerade{Table: table, Set: s.Masq}}}})
	}
	for _, path := range plan.Forwards {
		for _, x := range s.PutBack(name, path) {
			ops = append(ops, plan.Op{NS: plan.HostNS, Do: plan.Sysctl{Setting: plan.Setting{Path: x.Path, Value: x.Value}}})
		}
	}
	for _, n := range s.Notes {
		if n.Network == name {
			ops = append(ops, plan.Op{NS: plan.HostNS, Dev: "lo", Do: plan.DelAltName{Index: 1, Names: n.Names}, Quiet: true,
				Undo: []plan.Op{{NS: plan.HostNS, Dev: "lo", Do: plan.NewAltName{Index: 1, Names: n.Names}}}})
		}
	}
	return ops, nil
}

// endOnHost carries out what is to end on the host: what can be taken back first, so
// that nothing is lost where the rest is refused, and then the links.
func (d *doomed) endOnHost(ends []plan.Op) error {
	host := d.run.spaces[plan.HostNS]
	if host == nil {
		return nil
	}
	var links []plan.Op
	for _, op := range ends {
		if _, is := op.Do.(plan.DelLink); is {
			links = append(links, op)
			continue
		}
		err := error(nil)
		if m, is := op.Do.(plan.Message); is {
			_, err = host.conn.Surely(d.run.ctx, m.Request(d.run.fd))
		} else {
			err = d.run.step(op)
		}
		if err != nil && !plan.Absent(err) {
			err = ofAction(op, err)
			if left := d.run.back(); len(left) > 0 {
				err = &fault.Error{Err: err, Left: left}
			}
			return err
		}
		d.run.undo = append(d.run.undo, op.Undo)
	}
	return d.run.remove(links)
}

// noteOnHost notes on the host what goes there with the sandboxes: who finds the
// leader marked, or gone, deletes it too. The returned function takes that away.
func (d *doomed) noteOnHost(ctx context.Context, c plan.Commit, ends []plan.Op) (struck func(), err error) {
	rec := plan.Record{Role: plan.Undo, ID: c.ID, Leader: c.Leader, Steps: plan.Ahead(ends)}
	host := d.run.spaces[plan.HostNS]
	names, ok := rec.Names()
	if !ok {
		return func() {}, nil // too many
	}
	struck = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if err := host.strike(ctx, plan.Noted{Names: names}); err != nil {
			slog.Warn("osl: a note of what ends on the host was not taken away; osl recover does it", "error", err)
		}
	}
	if err = host.conn.One(ctx, rtnl.NewAltName(1, names...)); err != nil {
		struck()
	}
	return struck, err
}
