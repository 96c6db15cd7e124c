//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// static is the IPAM that osl-cni does by itself.
const static = "static"

// early are the IPAM plugins that give addresses out before there is an interface.
// Any other one may work by way of it.
var early = []string{static, hostLocal, "whereabouts"}

// lease asks the IPAM plugin for addresses; it is never nil, and empty without IPAM.
func (c *conf) lease(args *skel.CmdArgs) (*current.Result, error) {
	switch c.IPAM.Type {
	case "":
		return &current.Result{}, nil
	case static:
		return c.staticLease(args)
	case hostLocal:
		p, err := loadPool(c.raw, args.Args)
		if err != nil {
			return nil, err
		}
		return p.lease(args)
	}
	out, err := c.ipam("ADD", args)
	if err != nil {
		return nil, err
	}
	r, err := create.CreateFromBytes(out)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("the IPAM plugin %q has no result", c.IPAM.Type), err.Error())
	}
	lease, err := current.NewResultFromResult(r)
	if err == nil && len(lease.IPs) == 0 {
		err = invalid("IPAM plugin returned missing IP config: %q gave no address", c.IPAM.Type)
	}
	return lease, err
}

// handedDown is what the plugin before it in the chain says, for an ipvlan that has no
// IPAM of its own; else it is empty, and never nil.
func (c *conf) handedDown() (*current.Result, error) {
	prev, err := c.prev()
	if c.kind != "ipvlan" || c.IPAM.Type != "" || prev == nil || err != nil {
		return &current.Result{}, err
	}
	return &current.Result{IPs: prev.IPs, Routes: prev.Routes, DNS: prev.DNS}, nil
}

// release gives the addresses back.
func (c *conf) release(args *skel.CmdArgs) error { return c.ask("DEL", args) }

// ask calls the IPAM plugin, if there is one, for a verb that has no result.
func (c *conf) ask(verb string, args *skel.CmdArgs) error {
	switch c.IPAM.Type {
	case "", static:
		return nil
	case hostLocal:
		p, err := loadPool(c.raw, args.Args)
		if err != nil {
			return err
		}
		return p.ask(verb, args)
	}
	_, err := c.ipam(verb, args)
	return err
}

// ipam calls the IPAM plugin. It holds the attachment as long as it runs.
func (c *conf) ipam(verb string, args *skel.CmdArgs) ([]byte, error) {
	path, err := find(c.IPAM.Type)
	if err != nil {
		return nil, err
	}
	var out, stderr bytes.Buffer
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb)
	if args.ContainerID != "" {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+args.ContainerID, "CNI_IFNAME="+args.IfName, "CNI_NETNS="+args.Netns)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.raw), &out, &stderr
	if c.held != nil {
		cmd.ExtraFiles = []*os.File{c.held}
	}
	err = cmd.Run()
	_, _ = os.Stderr.Write(stderr.Bytes())
	if err == nil {
		return out.Bytes(), nil
	}
	e := &types.Error{}
	if json.Unmarshal(out.Bytes(), e) == nil && e.Msg != "" {
		return nil, e
	}
	return nil, types.NewError(types.ErrInternal, fmt.Sprintf("the IPAM plugin %s: %s: %v", path, verb, err), strings.TrimSpace(out.String()+stderr.String()))
}

// find looks for a plugin in CNI_PATH.
func find(plugin string) (string, error) {
	if plugin != filepath.Base(plugin) {
		return "", invalid("%q is no name of an IPAM plugin", plugin)
	}
	list := os.Getenv("CNI_PATH")
	for _, dir := range filepath.SplitList(list) {
		path := filepath.Join(dir, plugin)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("failed to find plugin %q in path [%s]", plugin, list), "")
}

// staticLease is what the configuration says. Addresses of the runtime stand in the
// place of those of the file, as with the static plugin.
func (c *conf) staticLease(args *skel.CmdArgs) (*current.Result, error) {
	var s struct {
		IPAM struct {
			Addresses []struct {
				Address string `json:"address"`
				Gateway net.IP `json:"gateway"`
			} `json:"addresses"`
			Routes []*types.Route `json:"routes"`
			DNS    types.DNS      `json:"dns"`
		} `json:"ipam"`
	}
	if err := json.Unmarshal(c.raw, &s); err != nil {
		return nil, invalid("ipam: %v", err)
	}
	var env envArgs
	if err := loadArgs(args.Args, &env); err != nil {
		return nil, err
	}
	r := &current.Result{Routes: s.IPAM.Routes, DNS: s.IPAM.DNS}
	add := func(text string, gateway net.IP) error {
		ip, subnet, err := net.ParseCIDR(strings.TrimSpace(text))
		if err != nil {
			return invalid("the address %q has no prefix length: write 10.0.0.2/24", text)
		}
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		r.IPs = append(r.IPs, &current.IPConfig{Address: net.IPNet{IP: ip, Mask: subnet.Mask}, Gateway: gateway})
		return nil
	}
	given := slices.Concat(c.RuntimeConfig.IPs)
	if len(given) == 0 {
		given = c.Args.CNI.IPs
	}
	if len(given) == 0 {
		for _, a := range s.IPAM.Addresses {
			if err := add(a.Address, a.Gateway); err != nil {
				return nil, err
			}
		}
		if env.IP != "" {
			given = strings.Split(string(env.IP), ",")
		}
	}
	for _, a := range given {
		if err := add(a, nil); err != nil {
			return nil, err
		}
	}
	for _, text := range strings.FieldsFunc(string(env.GATEWAY), func(r rune) bool { return r == ',' || r == ' ' }) {
		gateway := net.ParseIP(text)
		if gateway == nil {
			return nil, invalid("the gateway %q of CNI_ARGS is no address", text)
		}
		for _, ip := range r.IPs {
			if ip.Address.Contains(gateway) {
				ip.Gateway = gateway
			}
		}
	}
	if len(r.IPs) == 0 {
		return nil, invalid("ipam: addresses is empty")
	}
	families := map[bool]int{}
	for _, ip := range r.IPs {
		families[ip.Address.IP.To4() != nil]++
	}
	return r, oneEach(families, c.CNIVersion)
}
