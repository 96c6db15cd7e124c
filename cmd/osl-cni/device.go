package main

import (
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// deviceConf are the keys of the host-device plugin.
type deviceConf struct {
	Device     string `json:"device"`
	HWAddr     string `json:"hwaddr"`
	KernelPath string `json:"kernelpath"`
	PCIAddr    string `json:"pciBusID"`
}

var deviceMode = &mode{valid: validDevice, plan: planDevice}

func validDevice(c *conf) error {
	if c.Device == "" && c.HWAddr == "" && c.KernelPath == "" && c.PCIAddr == "" && c.RuntimeConfig.DeviceID == "" {
		return invalid(`specify either "device", "hwaddr", "kernelpath" or "pciBusID"`)
	}
	return nil
}

// planDevice moves a link of the host in. DEL brings it home, as it was.
func planDevice(a *attachment, lease *current.Result) (net osl.Network, err error) {
	f, err := a.iface("", lease)
	if err != nil {
		return net, err
	}
	if f.Source, err = a.device(); err != nil {
		return net, err
	}
	x, err := a.host.Interface(a.ctx, f.Source)
	if err != nil {
		return net, err
	}
	if f.MAC != nil {
		x.MAC = f.MAC
	}
	a.inContainer(([]byte)(x.MAC), lease)
	s, err := a.sandbox(f, lease)
	net.Sandboxes = []osl.Spec{s}
	return net, err
}

func (a *attachment) device() (string, error) { return a.c.Device, nil }
