//go:build linux

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// deviceConf are the keys of the host-device plugin.
type deviceConf struct {
	Device     string `json:"device"`
	HWAddr     string `json:"hwaddr"`
	KernelPath string `json:"kernelpath"`
	PCIAddr    string `json:"pciBusID"`
	// Brings says that the addresses, routes and rules of the link come along.
	Brings bool `json:"useInterfaceNetwork"`
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
	done := a.result.Interfaces != nil
	if !done {
		if f.Source, err = a.device(); err != nil {
			return net, err
		}
		if a.c.Brings {
			if a.brought, err = a.broughtBy(f.Source); err != nil {
				return net, err
			}
		}
		a.inContainer(([]byte)(f.MAC), lease)
	}
	if net, err = a.only(f, lease); err == nil {
		a.brought.add(&net.Sandboxes[0], lease, done)
	}
	return net, err
}

// device finds the link that the configuration or the runtime names.
func (a *attachment) device() (string, error) {
	switch c := a.c; {
	case c.RuntimeConfig.DeviceID != "": // of a device plugin
		for _, bus := range []string{"pci", "auxiliary"} {
			dir := filepath.Join("/sys/bus", bus, "devices", filepath.Base(c.RuntimeConfig.DeviceID))
			if _, err := os.Stat(dir); err == nil {
				return linkIn(dir)
			}
		}
		return "", invalid("the device %q of the runtime is on no bus", c.RuntimeConfig.DeviceID)
	case c.Device != "":
		return c.Device, nil
	case c.HWAddr != "":
		return a.byMAC(c.HWAddr)
	case c.KernelPath != "":
		if filepath.Clean(c.KernelPath) != c.KernelPath || len(c.KernelPath) < 5 || c.KernelPath[:5] != "/sys/" {
			return "", invalid("kernelpath %q is not a path in /sys", c.KernelPath)
		}
		return linkIn(c.KernelPath)
	default:
		return linkIn(filepath.Join("/sys/bus/pci/devices", filepath.Base(c.PCIAddr)))
	}
}

// linkIn returns the link of a device.
func linkIn(dir string) (string, error) {
	list, err := os.ReadDir(filepath.Join(dir, "net"))
	if err != nil || len(list) == 0 {
		return "", invalid("the device %s has no network interface on the host: another driver may have it, or another container", dir)
	}
	return list[0].Name(), nil
}

func (a *attachment) byMAC(text string) (string, error) {
	mac, err := net.ParseMAC(text)
	if err != nil {
		return "", invalid("%q is no hardware address", text)
	}
	st, err := a.host.Inspect(a.ctx)
	if err != nil {
		return "", err
	}
	for _, x := range st.Interfaces {
		if bytes.Equal(x.MAC, mac) {
			return x.Name, nil
		}
	}
	return "", invalid("no link of the host has the hardware address %v", mac)
}
