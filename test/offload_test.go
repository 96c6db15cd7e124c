//go:build linux

package osltest

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// The commands of the older interface of ethtool, which is the witness:
// linux/ethtool.h.
const (
	ethtoolSSET    = 0x2
	ethtoolGTXCSUM = 0x16
	ethtoolGSG     = 0x18
	ethtoolSSG     = 0x19
	ethtoolGTSO    = 0x1e
	ethtoolGGSO    = 0x23
	ethtoolGGRO    = 0x2b
)

// offload asks the older interface of ethtool whether an offload is on, or turns one off.
func offload(t *testing.T, key, dev string, cmd uint32) (on bool) {
	t.Helper()
	value := struct{ cmd, data uint32 }{cmd, 0}
	ethtool(t, key, dev, unsafe.Pointer(&value))
	return value.data != 0
}

// ethtool gives the older interface of ethtool a command about a link, and has its answer.
func ethtool(t *testing.T, key, dev string, value unsafe.Pointer) {
	t.Helper()
	ask := func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		ifr := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: value}
		copy(ifr.name[:], dev)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr))); e != 0 {
			return e
		}
		return nil
	}
	fd, _, err := netns.Open(key)
	must(t, err)
	defer unix.Close(fd)
	must(t, netns.Do(fd, ask))
}

func offloadNet(a, b map[string]bool) osl.Network {
	return osl.Network{Name: "offloads", Sandboxes: []osl.Spec{
		{Name: "oa", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Offloads: a}}},
		{Name: "ob", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Offloads: b}}},
	}, Links: []osl.Link{{{Sandbox: "oa", Interface: "eth0"}, {Sandbox: "ob", Interface: "eth0"}}}}
}

// settles applies a network, and holds that nothing is to be done after that.
func settles(t *testing.T, n osl.Network) []osl.Change {
	t.Helper()
	did, err := osl.Apply(t.Context(), n)
	must(t, err)
	if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
		t.Fatalf("after it was applied there is to do (%v): %v", err, c)
	}
	asRead(t, n)
	return did
}

// Offloads are turned on and off by the names of ethtool and of the kernel, for
// new links and for those that stand, and nothing else changes.
func TestOffloads(t *testing.T) {
	begin(t)
	t.Cleanup(func() { _, _ = osl.Down(context.Background(), osl.Network{Name: "offloads"}) })
	off := map[string]bool{"tx": false, "tcp-segmentation-offload": false}
	settles(t, offloadNet(off, nil))
	a, b := osl.GenerateKey("oa"), osl.GenerateKey("ob")
	look := func(key string) (list [4]bool) {
		for i, cmd := range []uint32{ethtoolGTXCSUM, ethtoolGTSO, ethtoolGSG, ethtoolGGSO} {
			list[i] = offload(t, key, "eth0", cmd)
		}
		return list
	}
	if got := look(a); got != [4]bool{false, false, true, true} {
		t.Errorf("tx, tso, sg, gso of the one with two off: %v", got)
	}
	if got := look(b); got != [4]bool{true, true, true, true} {
		t.Errorf("of its other end: %v", got)
	}
	did := settles(t, offloadNet(map[string]bool{"tx-checksum-ip-generic": true}, map[string]bool{"scatter-gather": false}))
	if got := look(a); got != [4]bool{true, true, true, true} {
		t.Errorf("after the kernel's name is on, and tso is asked for no more: %v", got)
	}
	if got := look(b); got[2] {
		t.Errorf("after scatter-gather is off at the other end: %v", got)
	}
	text := ""
	for _, c := range did {
		text += c.Command + "\n"
	}
	if !strings.Contains(text, "ethtool -K eth0 scatter-gather off") || len(did) != 3 {
		t.Errorf("it is told as\n%s", text)
	}
	n, err := osl.Open(t.Context(), "ob")
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	if f := st.Interfaces[0].Offloads; f["tx-scatter-gather"] || !f["tx-checksum-ip-generic"] {
		t.Errorf("Inspect says %v", f)
	}
}

// An offload that the file drops is as on a link of which it was never asked, of each type, and
// one that somebody else turned stays.
func TestFeatureOffloadsDropped(t *testing.T) {
	begin(t)
	for _, kind := range []string{"veth", "bridge", "macvlan", "macvtap", "tap", "tun", "dummy", "ifb", "vlan", "ipvlan", "vrf", "bond", "vxlan", "gretap", "netkit"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "tap" || kind == "tun" {
				testnet.NeedTun(t)
			}
			key := newKey()
			lab := func(set map[string]bool) osl.Network {
				x, list := oneOf(kind, key), []osl.InterfaceSpec{{Name: "end", Type: "bridge"}}
				if x.Offloads = set; x.Peer.Interface != "" {
					list = append(list, osl.InterfaceSpec{Name: x.Peer.Interface, Type: kind})
				}
				return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: append(list, x)}}}
			}
			if _, err := osl.Apply(t.Context(), lab(nil)); errors.Is(err, osl.ErrUnsupported) {
				t.Skip(err)
			}
			settled(t, lab(nil))
			defer func() { _, err := osl.Down(t.Context(), lab(nil)); must(t, err) }()
			n, err := osl.Open(t.Context(), key)
			must(t, err)
			defer n.Close()
			look := func() map[string]bool {
				i, err := n.Interface(t.Context(), "x")
				must(t, err)
				return i.Offloads
			}
			before := look()
			off := map[string]bool{}
			for name, on := range before {
				if on {
					off[name] = false
				} else if _, err := osl.Apply(t.Context(), lab(map[string]bool{name: true})); err == nil { // some depend on others
					settled(t, lab(nil))
					if now := look(); !maps.Equal(before, now) {
						t.Errorf("%s was on, and is asked for no more: %v, of a new link %v", name, now, before)
					}
				}
			}
			if len(off) == 0 {
				return
			}
			settled(t, lab(off))
			some := map[string]bool{}
			for name := range off {
				if some[name] = false; len(some) == 2 {
					break
				}
			}
			settled(t, lab(some))
			for name, on := range look() {
				if _, asked := some[name]; on && asked {
					t.Errorf("%s is on with others that are asked for no more", name)
				}
			}
			settled(t, lab(nil))
			if now := look(); !maps.Equal(before, now) {
				t.Errorf("asked for no more: %v, of a new link %v", now, before)
			}
		})
	}
	// By the names of groups, and with what somebody else turned off.
	settled(t, offloadNet(map[string]bool{"tx": false, "tso": false}, nil))
	t.Cleanup(func() { _, _ = osl.Down(context.Background(), osl.Network{Name: "offloads"}) })
	a := osl.GenerateKey("oa")
	offload(t, a, "eth0", ethtoolSSG)
	settled(t, offloadNet(map[string]bool{"tx-tcp-segmentation": false}, nil))
	if tx, tso, sg := offload(t, a, "eth0", ethtoolGTXCSUM), offload(t, a, "eth0", ethtoolGTSO), offload(t, a, "eth0", ethtoolGSG); !tx || tso || sg {
		t.Errorf("tx, tso and sg are %v, %v, %v where TCP's segmentation is to be off", tx, tso, sg)
	}
}

// What can not be had is refused with the reason, before and after the link is
// there, and nothing stays.
func TestOffloadsRefused(t *testing.T) {
	begin(t)
	t.Cleanup(func() { _, _ = osl.Down(context.Background(), osl.Network{Name: "offloads"}) })
	for _, there := range []bool{false, true} {
		if there {
			settles(t, offloadNet(nil, nil))
		}
		for _, x := range []struct {
			set  map[string]bool
			says string
		}{
			{map[string]bool{"rx-fcs": true}, "rx-fcs is fixed off"},
			{map[string]bool{"large-receive-offload": true}, "large-receive-offload is fixed off"},
			{map[string]bool{"tx-lockless": true, "tx-checksum-ip-generc": true}, `did you mean "tx-checksum-ip-generic"`},
			{map[string]bool{"tx": true, "tx-checksumming": false}, "is another name of"},
			{map[string]bool{"scatter-gather": false, "tx-tcp-segmentation": true}, "it depends on another offload"},
		} {
			if there && strings.Contains(x.says, "depends") {
				settles(t, offloadNet(map[string]bool{"tx-tcp-segmentation": false}, nil))
			}
			_, err := osl.Apply(t.Context(), offloadNet(x.set, nil))
			if !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%v, the link there: %v: %v", x.set, there, err)
			}
		}
		if there && !offload(t, osl.GenerateKey("oa"), "eth0", ethtoolGSG) {
			t.Error("what was turned off before the refusal stayed off")
		}
	}
}
