//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// AddNeighbor adds a permanent neighbor entry.
func (n *Namespace) AddNeighbor(dstIP net.IP, dstMac net.HardwareAddr, force bool, link string, family int) error {
	failed := func(err error) error {
		return fail(fmt.Sprintf("add neighbor %v on", dstIP), n.key, link, err)
	}
	w, err := want.FromNeighbor(dstIP, dstMac, family)
	if err != nil {
		return failed(err)
	}
	err = n.change(func(ctx context.Context, conn *netlink.Conn) error {
		if w.Index, err = n.neighLink(ctx, conn, link, w); err != nil {
			return err
		}
		err := n.addNeigh(ctx, conn, w, force)
		if link != "" && errors.Is(err, unix.ENODEV) {
			// The link was removed and added again by another handle.
			n.forget(link)
			if w.Index, err = n.neighLink(ctx, conn, link, w); err == nil {
				err = n.addNeigh(ctx, conn, w, force)
			}
		}
		return err
	})
	var found fault.NeighborError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &found):
		return found
	}
	return failed(err)
}

// addNeigh adds the entry. The usual case is one message; only where there is
// an entry already is it looked at.
func (n *Namespace) addNeigh(ctx context.Context, conn *netlink.Conn, w rtnl.Neigh, force bool) error {
	req := rtnl.ReplaceNeigh(w)
	if !force {
		req = rtnl.NewNeigh(w, nil)
	}
	repeated, err := conn.Surely(ctx, req)
	if errors.Is(err, unix.EEXIST) && !force {
		held, herr := holds(ctx, conn, w)
		if herr != nil {
			return herr
		}
		if held && !repeated {
			return fault.NeighborError{IP: w.IP.String(), MAC: w.MAC.String(), Present: true}
		}
		// Where the answer was lost, the entry may be the one just made.
		_, err = conn.Surely(ctx, rtnl.ReplaceNeigh(w))
	}
	if err == nil {
		n.remember(w)
	}
	return err
}

// holds reports whether the entry for the same address is one of osl's.
func holds(ctx context.Context, conn *netlink.Conn, w rtnl.Neigh) (bool, error) {
	if !w.FDB {
		var have rtnl.Neigh
		err := conn.One(ctx, rtnl.GetNeigh(w.Index, w.IP, &have))
		return have.Proto == rtnl.Protocol, err
	}
	list, err := conn.FDB(ctx, w.Index)
	return slices.ContainsFunc(list, func(h rtnl.Neigh) bool { return h.Bridge == 0 && bytes.Equal(h.MAC, w.MAC) }), err
}

// neighLink returns the index of the link with a source name, or without one
// that of the link by which the kernel reaches the neighbour.
func (n *Namespace) neighLink(ctx context.Context, conn *netlink.Conn, src string, w rtnl.Neigh) (int, error) {
	if src == "" && w.FDB {
		return 0, fault.Invalidf("a forwarding entry needs the name of a vxlan: the option LinkName")
	}
	if src == "" {
		var to rtnl.Route
		if err := conn.One(ctx, rtnl.RouteTo(w.IP, &to)); err != nil {
			return 0, ofAction(plan.Op{Do: plan.NewRoute{}}, err)
		}
		return to.Index, nil
	}
	n.mu.Lock()
	link, ok := n.lookup.links[src]
	n.mu.Unlock()
	if ok && (link.vxlan || !w.FDB) {
		return link.index, nil
	}
	links, err := conn.Links(ctx)
	if err != nil {
		return 0, err
	}
	s := &plan.State{Links: links}
	l, _ := s.BySource(src)
	if l == nil && n.host {
		l = s.Link(src)
	}
	if l == nil {
		return 0, fmt.Errorf("%w: no interface with this source name was added to the sandbox", fault.ErrNotFound)
	}
	if w.FDB && l.Kind != "vxlan" {
		return 0, fault.Invalidf("a forwarding entry needs a vxlan, and this is none")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lookup.links == nil {
		n.lookup.links = map[string]linkRef{}
	}
	n.lookup.links[src] = linkRef{l.Index, l.Kind == "vxlan"}
	return l.Index, nil
}

func (n *Namespace) forget(src string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.lookup.links, src)
}

// remember keeps where an entry went: DeleteNeighbor is not told, and would
// have to read all of them.
func (n *Namespace) remember(w rtnl.Neigh) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lookup.neighs == nil {
		n.lookup.neighs = map[neighKey]rtnl.Neigh{}
	}
	n.lookup.neighs[keyOf(w)] = w
}

func keyOf(w rtnl.Neigh) neighKey {
	if w.FDB {
		return neighKey{w.IP, w.MAC.String()}
	}
	return neighKey{ip: w.IP}
}

// recall forgets an entry that this handle added, and returns it.
func (n *Namespace) recall(ip netip.Addr, mac net.HardwareAddr) (rtnl.Neigh, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range []neighKey{{ip: ip}, {ip, mac.String()}} {
		if w, ok := n.lookup.neighs[k]; ok && (len(mac) == 0 || bytes.Equal(w.MAC, mac)) {
			delete(n.lookup.neighs, k)
			return w, true
		}
	}
	return rtnl.Neigh{}, false
}

// DeleteNeighbor deletes a neighbor entry.
func (n *Namespace) DeleteNeighbor(dstIP net.IP, dstMac net.HardwareAddr, osDelete bool) error {
	failed := func(err error) error { return fail(fmt.Sprintf("delete neighbor %v", dstIP), n.key, "", err) }
	ip, err := want.ToAddr(dstIP)
	if err != nil {
		return failed(err)
	}
	err = n.change(func(ctx context.Context, conn *netlink.Conn) error {
		w, err := n.findNeigh(ctx, conn, ip, dstMac)
		if err != nil {
			return err
		}
		if !osDelete {
			w.Proto, w.State = unix.RTPROT_STATIC, unix.NUD_PERMANENT
			_, err := conn.Surely(ctx, rtnl.ReplaceNeigh(w))
			return err
		}
		repeated, err := conn.Surely(ctx, rtnl.DelNeigh(w, nil))
		if plan.Absent(err) {
			if repeated {
				return nil // it was the first time that deleted it
			}
			return fault.NeighborError{IP: ip.String(), MAC: dstMac.String()}
		}
		return err
	})
	var found fault.NeighborError
	switch {
	case err == nil, isClosed(err):
		return nil
	case errors.As(err, &found):
		return found
	}
	return failed(err)
}

// findNeigh returns the entry of osl for an address: the one that this handle
// added, or else the one that the kernel has.
func (n *Namespace) findNeigh(ctx context.Context, conn *netlink.Conn, ip netip.Addr, mac net.HardwareAddr) (rtnl.Neigh, error) {
	if w, ok := n.recall(ip, mac); ok {
		return w, nil
	}
	var w rtnl.Neigh
	links, err := conn.Links(ctx)
	if err != nil {
		return w, err
	}
	list, err := readNeighs(ctx, conn, links)
	if err != nil {
		return w, err
	}
	for _, h := range list {
		if h.IP == ip && (len(mac) == 0 || bytes.Equal(h.MAC, mac)) {
			return h, nil
		}
	}
	return w, fault.NeighborError{IP: ip.String(), MAC: mac.String()}
}
