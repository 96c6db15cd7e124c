//go:build linux

package main

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

var loopbackMode = &mode{whole: loopbackUp}

// loopbackUp brings lo up.
func loopbackUp(a *attachment) (*current.Result, error) {
	if err := setLoopback(a.ctx, a.args.Netns, false); err != nil {
		return nil, err
	}
	if prev, err := a.c.prev(); prev != nil || err != nil {
		return prev, err
	}
	lo, err := a.ns.Interface(a.ctx, "lo")
	if err != nil {
		return nil, err
	}
	a.result.Interfaces = []*current.Interface{{Name: "lo", Mac: "00:00:00:00:00:00", Sandbox: a.args.Netns}}
	for _, p := range lo.Addresses {
		if p.Addr().IsLoopback() {
			a.result.IPs = append(a.result.IPs, &current.IPConfig{Interface: current.Int(0),
				Address: ipNet(p)})
		}
	}
	return a.result, nil
}

func loopbackDown(ctx context.Context, args *skel.CmdArgs) error {
	if args.Netns == "" {
		return nil
	}
	if err := setLoopback(ctx, args.Netns, true); !gone(err) {
		return err
	}
	return nil
}

func setLoopback(ctx context.Context, netns string, down bool) error {
	return osl.Add(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: netns, Interfaces: []osl.InterfaceSpec{{Name: "lo", Down: down}}}}})
}

func (a *attachment) checkLoopback() error {
	lo, err := a.ns.Interface(a.ctx, "lo")
	if err == nil && !lo.Up {
		err = differs("lo is down")
	}
	return err
}
