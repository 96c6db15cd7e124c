//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// conf is a configuration: that of osl, and those of the reference plugins, whose
// keys it takes as they are.
type conf struct {
	types.PluginConf

	// Mode says what is made, where Type is "osl"; for a macvlan and an ipvlan that
	// are called by name it is the mode of the link.
	Mode string `json:"mode"`
	// LinkMode is that mode where Type is "osl".
	LinkMode string `json:"linkMode"`

	MTU           int     `json:"mtu"`
	IPMasq        bool    `json:"ipMasq"`
	IPMasqBackend *string `json:"ipMasqBackend"`
	MAC           string  `json:"mac"`

	bridgeConf

	// Of links that are on another.
	Master     string `json:"master"`
	InNS       bool   `json:"linkInContainer"`
	BcQueueLen uint32 `json:"bcqueuelen"`
	VLANID     int    `json:"vlanId"`

	deviceConf
	tapConf
	tuneConf
	vrfConf
	SBR *sbrConf `json:"sbr"`

	Args struct {
		CNI struct {
			MAC string   `json:"mac"`
			IPs []string `json:"ips"`
			MTU int      `json:"mtu"`
			tuneConf
		} `json:"cni"`
	} `json:"args"`
	RuntimeConfig struct {
		MAC      string   `json:"mac"`
		IPs      []string `json:"ips"`
		DeviceID string   `json:"deviceID"`
	} `json:"runtimeConfig"`

	kind    string           // what to make
	mac     net.HardwareAddr // nil for any
	keysErr error            // which key has a value of another type
	argsErr error            // what is wrong with CNI_ARGS, or the hardware address
	raw     []byte
	held    *os.File // nil for none
}

// envArgs are those of CNI_ARGS.
type envArgs struct {
	types.CommonArgs
	MAC     types.UnmarshallableString `json:"mac,omitempty"`
	IP      types.UnmarshallableString `json:"ip,omitempty"`
	GATEWAY types.UnmarshallableString `json:"gateway,omitempty"`
}

func loadArgs(text string, env *envArgs) error {
	if err := types.LoadArgs(text, env); err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS can not be read", err.Error())
	}
	return nil
}

// own are the types that are osl's own, whose mode says what is made.
var own = []string{"osl", "osl-cni"}

// load reads the configuration of a call, all keys of it.
func load(args *skel.CmdArgs) (*conf, error) {
	c, err := loadToEnd(args)
	if err == nil {
		err = c.keysErr
	}
	return c, err
}

// loadToEnd reads the configuration of a DEL, which does without keys that have a value of
// another type, as one that was edited since the ADD may have; but not without those that say
// what there is to take away.
func loadToEnd(args *skel.CmdArgs) (*conf, error) {
	c := &conf{raw: args.StdinData}
	if err := json.Unmarshal(args.StdinData, c); err != nil {
		c.keysErr = types.NewError(types.ErrDecodingFailure, "the configuration can not be read", err.Error())
		var needed struct {
			types.PluginConf
			Mode     string   `json:"mode"`
			LinkMode string   `json:"linkMode"`
			IPMasq   bool     `json:"ipMasq"`
			SBR      *sbrConf `json:"sbr"`
			deviceConf
			vrfConf
		}
		// After an error of another kind the rest was not read.
		if other := (*json.UnmarshalTypeError)(nil); !errors.As(err, &other) || json.Unmarshal(args.StdinData, &needed) != nil {
			return nil, c.keysErr
		}
	}
	// The name by which it is called says what it is, else the type does.
	c.kind = filepath.Base(os.Args[0])
	if modes[c.kind] == nil {
		c.kind = c.Type
	}
	if slices.Contains(own, c.kind) {
		if c.kind = c.Mode; c.kind == "" {
			return nil, invalid(`"mode" is missing: it is one of %s`, strings.Join(modeNames(), ", "))
		}
		c.Mode = c.LinkMode
	} else {
		c.tuneConf, c.Args.CNI.tuneConf, c.Args.CNI.MTU = tuneConf{}, tuneConf{}, 0
		c.vrfConf, c.SBR = vrfConf{}, nil
		// What the reference plugin passes over is not asked for: one address for all
		// containers of a network, say.
		if c.kind != "tap" && c.kind != "macvlan" {
			c.MAC = ""
		}
		if c.kind == "host-device" || c.kind == "dummy" {
			c.MTU = 0
		}
	}
	if modes[c.kind] == nil {
		return nil, invalid("osl makes no %q: it makes %s", c.kind, strings.Join(modeNames(), ", "))
	}
	var env envArgs
	if args.Args != "" && c.kind != "loopback" {
		c.argsErr = loadArgs(args.Args, &env)
	}
	mac := first(c.RuntimeConfig.MAC, c.Args.CNI.MAC, string(env.MAC), c.MAC)
	if mac != "" {
		var err error
		if c.mac, err = net.ParseMAC(mac); err != nil || len(c.mac) != 6 {
			c.argsErr = invalid("%q is no hardware address", mac)
		}
	}
	return c, nil
}

// hold keeps other calls about the same attachment away until it is let go of.
func (c *conf) hold(args *skel.CmdArgs) (letGo func()) {
	c.held = hold(args)
	return func() { c.held.Close() } // of nil, too
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// prev returns prevResult, nil if there is none.
func (c *conf) prev() (*current.Result, error) {
	if err := version.ParsePrevResult(&c.PluginConf); err != nil { // of one that is read already it does nothing
		return nil, types.NewError(types.ErrDecodingFailure, "prevResult can not be read", err.Error())
	}
	if c.PrevResult == nil {
		return nil, nil
	}
	r, err := current.NewResultFromResult(c.PrevResult)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "prevResult can not be read", err.Error())
	}
	return r, nil
}

// owner is what the kernel notes with each interface of an attachment.
func (c *conf) owner(args *skel.CmdArgs) string {
	return c.ownerOf(args.ContainerID, args.IfName)
}

func (c *conf) ownerOf(id, ifName string) string { return c.owners() + id + " " + ifName }

// owners begins the owner of each attachment of the network.
func (c *conf) owners() string { return "cni " + c.Name + " " }

func invalid(format string, args ...any) error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf(format, args...), "")
}

// lacking refuses what the configuration asks for and osl can not do.
func lacking(what string) error {
	return types.NewError(types.ErrUnsupportedField, what+" is not supported by osl-cni; leave it out, or use the reference plugin for this network", "")
}
