//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// vrfConf are the keys of the vrf plugin.
type vrfConf struct {
	VRFName string `json:"vrfname"`
	Table   uint32 `json:"table"` // 0 for any that is free
}

// vrfNote is on the VRFs that osl-cni made, whatever the network: the last that leaves
// one takes it away.
const vrfNote = "osl-cni vrf"

// firstTable is the first that is chosen where the configuration says none.
const firstTable = 100

// validTables says what is wrong with the keys about routing tables.
func (c *conf) validTables() error {
	switch {
	case c.VRFName == "" && c.SBR == nil && c.Table == 0:
		return nil
	case c.kind == "loopback":
		return invalid("lo has no routes of its own: vrfname and sbr are for other modes")
	case c.VRFName != "" && c.SBR != nil:
		return invalid("vrfname and sbr are two ways for one: the table of a VRF is looked up before that of a rule")
	case c.VRFName == "" && c.SBR == nil:
		return invalid("table is that of a VRF, whose name is missing: vrfname; that of sbr is inside of it")
	case c.SBR != nil:
		return c.validSBR()
	}
	return nil
}

// holdTables keeps other calls away that choose tables in a namespace, look whether a VRF
// of it is empty, or are the sbr plugin, which locks the same; where the configuration has
// to do with these at all.
func (c *conf) holdTables(n *osl.Namespace) (letGo func(), err error) {
	if c.VRFName == "" && c.SBR == nil {
		return func() {}, nil
	}
	f, err := n.File()
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("the namespace %s can not be locked: %w", n.Key(), err)
	}
	return func() {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // the handle has the file open too
		f.Close()
	}, nil
}

// divert puts what is wanted of the container where the keys about routing tables say.
func (a *attachment) divert(s *osl.Spec, lease *current.Result) error {
	if a.c.VRFName == "" && a.c.SBR == nil {
		return nil
	}
	st, err := a.ns.Inspect(a.ctx)
	switch {
	case err != nil:
		return err
	case a.c.SBR != nil:
		return a.bySource(s, lease, st)
	}
	return a.intoVRF(s, st)
}

// intoVRF makes the interface a port of a VRF of the container, which is made where there
// is none, and puts its routes into that one's table.
func (a *attachment) intoVRF(s *osl.Spec, st *osl.Status) error {
	name, table := a.c.VRFName, a.c.Table
	f := &s.Interfaces[0]
	if f.Master != "" {
		return invalid("the interface is a port of %s: it can not be one of the VRF %s too", f.Master, name)
	}
	x := interfaceOf(st, name)
	if x != nil {
		has, err := vrfTable(x)
		switch {
		case err != nil:
			return err
		case table != 0 && table != has:
			return invalid("the VRF %s is there with the table %d, not %d", name, has, table)
		}
		table = has
	} else if table == 0 {
		table = freeTables(st)()
	}
	f.Master = name
	for _, r := range a.ownRoutes(s) {
		r.Table = table
		s.Routes = append(s.Routes, r)
	}
	if x == nil {
		s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: name, Type: "vrf", Table: int(table), Note: vrfNote})
	}
	return nil
}

// ownRoutes takes the routes of the main table out of what is wanted, and returns them:
// those of the interface.
func (a *attachment) ownRoutes(s *osl.Spec) (list []osl.RouteSpec) {
	f := &s.Interfaces[0]
	for _, to := range f.Routes {
		list = append(list, osl.RouteSpec{To: to, Dev: f.Name})
	}
	f.Routes = nil
	others := slices.DeleteFunc(slices.Clone(s.Routes), func(r osl.RouteSpec) bool { return r.Table == 0 })
	for _, r := range s.Routes {
		if r.Table != 0 {
			continue
		}
		if r.NextHops == nil {
			r.Dev = f.Name
		}
		r.NextHops = slices.Clone(r.NextHops)
		for i := range r.NextHops {
			r.NextHops[i].Dev = f.Name
		}
		list = append(list, r)
	}
	s.Routes = others
	return list
}

// interfaceOf returns the interface with a name, nil if there is none.
func interfaceOf(st *osl.Status, name string) *osl.InterfaceStatus {
	i := slices.IndexFunc(st.Interfaces, func(x osl.InterfaceStatus) bool { return x.Name == name })
	if i < 0 {
		return nil
	}
	return &st.Interfaces[i]
}

// vrfTable returns the table of a VRF.
func vrfTable(x *osl.InterfaceStatus) (uint32, error) {
	if x.Type != "vrf" {
		return 0, invalid("the container's interface %s is no VRF", x.Name)
	}
	n, err := strconv.ParseUint(x.Details["table"], 10, 32)
	return uint32(n), err
}

// freeTables returns what chooses a table that nothing has to do with, another each time.
func freeTables(st *osl.Status) func() uint32 {
	taken := map[uint32]bool{253: true, 254: true, 255: true} // default, main, local
	for i := range st.Interfaces {
		if n, err := vrfTable(&st.Interfaces[i]); err == nil {
			taken[n] = true
		}
	}
	for _, r := range st.Routes {
		taken[r.Table] = true
	}
	for _, r := range st.OtherRoutes {
		taken[r.Table] = true
	}
	for _, r := range st.Rules {
		taken[r.Table] = true
	}
	for _, r := range st.OtherRules {
		taken[r.Rule.Table] = true
	}
	n := uint32(firstTable)
	return func() uint32 {
		for taken[n] {
			n++
		}
		n++
		return n - 1
	}
}

// dropVRFs takes the VRFs away that osl-cni made and that have no port any more.
func dropVRFs(ctx context.Context, n *osl.Namespace, which func(name string) bool) error {
	st, err := n.Inspect(ctx)
	if err != nil {
		return err
	}
	for _, v := range st.Interfaces {
		if v.Type != "vrf" || v.Note != vrfNote || !which(v.Name) ||
			slices.ContainsFunc(st.Interfaces, func(x osl.InterfaceStatus) bool { return x.Master == v.Name }) {
			continue
		}
		if rerr := n.RemoveLink(ctx, v.Name); !gone(rerr) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// checkTables compares an interface with the keys about routing tables, and returns the
// tables in which its routes are.
func (a *attachment) checkTables(st *osl.Status, x *osl.InterfaceStatus, prev *current.Result) ([]uint32, error) {
	switch {
	case a.c.SBR != nil:
		return a.checkSources(st, x, prev)
	case a.c.VRFName == "":
		return []uint32{0}, nil
	case x.Master != a.c.VRFName:
		return nil, differs("the interface %s is no port of the VRF %s", x.Name, a.c.VRFName)
	}
	v := interfaceOf(st, a.c.VRFName)
	if v == nil || !v.Up {
		return nil, differs("the VRF %s is not there, or down", a.c.VRFName)
	}
	table, err := vrfTable(v)
	if err == nil && a.c.Table != 0 && a.c.Table != table {
		err = differs("the VRF %s has the table %d, not %d", v.Name, table, a.c.Table)
	}
	return []uint32{table}, err
}
