//go:build linux

package main

import (
	"context"
	"errors"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// del takes an attachment away: what there is of it. Whatever is gone already is no
// error, and the addresses are given back in each case.
func del(args *skel.CmdArgs) error {
	c, err := loadToEnd(args)
	if err != nil {
		return err
	}
	defer c.hold(args)()
	ctx := context.Background()
	if c.kind == "loopback" {
		return fail(loopbackDown(ctx, args))
	}
	// The addresses are given back last, when nothing is there that has them.
	return fail(errors.Join(takeAway(ctx, args, c), c.delMasq(args), c.release(args)))
}

// gone reports whether an error says that a namespace or an interface is not there.
func gone(err error) bool {
	return errors.Is(err, osl.ErrNotFound) || errors.Is(err, osl.ErrNotNamespace) || errors.Is(err, osl.ErrClosed)
}

func takeAway(ctx context.Context, args *skel.CmdArgs, c *conf) error {
	if args.Netns != "" {
		n, err := osl.Open(ctx, args.Netns)
		if err == nil {
			defer n.Close()
			var free func()
			if free, err = c.holdTables(n); err == nil {
				defer free()
				var there bool
				if there, err = c.takeInside(ctx, args, n); there && err == nil {
					return nil // with its other end
				}
			}
		}
		if err != nil && !gone(err) {
			return err
		}
	}
	host, err := openHost()
	if err != nil {
		return err
	}
	defer host.Close()
	if lo, err := host.Interface(ctx, "lo"); err == nil && lo.UnderWay {
		if err := osl.RecoverHost(ctx); err != nil {
			return err
		}
	}
	if args.Netns != "" {
		_, err := takeFrom(ctx, host, hostEnd(args), c.owner(args))
		return err
	}
	// The namespace is not known any more, nor how the end is called.
	st, err := host.Inspect(ctx)
	if err != nil {
		return err
	}
	for _, x := range st.Interfaces {
		if x.Note == c.owner(args) {
			if err := host.RemoveLink(ctx, x.Name); err != nil && !gone(err) {
				return err
			}
		}
	}
	return nil
}

// takeInside takes away what an attachment has in its namespace. there is whether the
// interface was. What finds the rest goes last, so that a DEL after one that was killed
// finds it too.
func (c *conf) takeInside(ctx context.Context, args *skel.CmdArgs, n *osl.Namespace) (there bool, err error) {
	if c.SBR != nil {
		st, err := n.Inspect(ctx)
		if err != nil {
			return false, err
		}
		var addrs []*current.IPConfig
		if prev, err := c.prev(); err == nil && prev != nil {
			addrs = prev.IPs
		}
		if err := dropRules(ctx, n, st, sourcesOf(st, args.IfName, c.owner(args), addrs)); err != nil {
			return false, err
		}
	}
	if c.Brings {
		prev, _ := c.prev() // what can not be read says nothing
		if err := dropBrought(ctx, n, args.IfName, c.owner(args), prev); err != nil {
			return false, err
		}
	}
	if there, err = takeFrom(ctx, n, args.IfName, c.owner(args)); err != nil || c.VRFName == "" {
		return there, err
	}
	return there, dropVRFs(ctx, n, func(name string) bool { return name == c.VRFName })
}

// takeFrom removes an interface that is for owner. there is whether it was there.
func takeFrom(ctx context.Context, n *osl.Namespace, name, owner string) (there bool, err error) {
	x, err := n.Interface(ctx, name)
	if gone(err) || err == nil && x.Note != owner {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := n.RemoveLink(ctx, name); err != nil && !gone(err) {
		return true, err
	}
	return true, nil
}

// collect removes what the network has of attachments that are valid no longer. The
// kernel knows of each whose it is.
func collect(args *skel.CmdArgs) error {
	c, err := load(args)
	if err != nil {
		return err
	}
	ctx := context.Background()
	valid := map[string]bool{}
	for _, v := range c.ValidAttachments {
		valid[c.ownerOf(v.ContainerID, v.IfName)] = true
	}
	var failed error
	stale := map[string]bool{}
	sweep := func(n *osl.Namespace, inside bool) {
		st, err := n.Inspect(ctx)
		if err != nil {
			failed = errors.Join(failed, err)
			return
		}
		for _, x := range st.Interfaces {
			if !strings.HasPrefix(x.Note, c.owners()) || valid[x.Note] {
				continue
			}
			if inside && c.SBR != nil {
				failed = errors.Join(failed, dropRules(ctx, n, st, sourcesOf(st, x.Name, x.Note, nil)))
			}
			if inside && c.Brings {
				failed = errors.Join(failed, dropBrought(ctx, n, x.Name, x.Note, nil))
			}
			if err := n.RemoveLink(ctx, x.Name); err != nil && !gone(err) {
				failed = errors.Join(failed, err)
				continue
			}
			stale[x.Note] = true
		}
		if inside && c.VRFName != "" {
			failed = errors.Join(failed, dropVRFs(ctx, n, func(string) bool { return true }))
		}
	}
	failed = errors.Join(failed, osl.RecoverHost(ctx))
	// The host comes last: with its end of a veth goes the other one, which tells what
	// else there is in a namespace.
	list, err := osl.List(ctx)
	failed = errors.Join(failed, err)
	for _, e := range list {
		n, err := osl.Open(ctx, e.Key)
		if err != nil {
			continue // it is gone meanwhile, or none
		}
		if free, err := c.holdTables(n); err == nil { // else it is gone
			sweep(n, true)
			free()
		}
		n.Close()
	}
	host, err := openHost()
	if err != nil {
		return fail(errors.Join(failed, err))
	}
	sweep(host, false)
	host.Close()
	failed = errors.Join(failed, unmasq(func(owner string) bool { return strings.HasPrefix(owner, c.owners()) && !valid[owner] }))
	for owner := range stale {
		id, ifName, _ := strings.Cut(strings.TrimPrefix(owner, c.owners()), " ")
		failed = errors.Join(failed, c.ask("DEL", &skel.CmdArgs{ContainerID: id, IfName: ifName, Args: args.Args}))
	}
	failed = errors.Join(failed, c.ask("GC", args))
	return fail(failed)
}

// status reports whether an ADD could succeed.
func status(args *skel.CmdArgs) error {
	c, err := load(args)
	if err != nil {
		return err
	}
	if m := modes[c.kind]; m.valid != nil {
		if err := m.valid(c); err != nil {
			return err
		}
	}
	host, err := openHost()
	if err == nil {
		defer host.Close()
		_, err = host.Interface(context.Background(), "lo")
	}
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "the kernel can not be asked for the host's interfaces", err.Error())
	}
	return c.ask("STATUS", args)
}
