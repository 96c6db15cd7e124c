//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// witness opens another netlink library in the namespace at path, "" for the
// host's. It is closed again, or it would keep the namespace alive.
func witness(path string, with func(h *netlink.Handle) error) error {
	if path == "" {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return with(h)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return with(h)
}

// again repeats a listing that was interrupted by a change.
func again[T any](list func() ([]T, error)) ([]T, error) {
	for try := 0; ; try++ {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try > 20 {
			return out, err
		}
	}
}

// isSandbox checks that a namespace of its own is pinned at path, with its
// loopback up, and with ipv6Off that links get no IPv6 there by themselves.
func isSandbox(path string, ipv6Off bool) error {
	if err := isPinned(path); err != nil {
		return err
	}
	err := witness(path, func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err == nil && lo.Attrs().Flags&net.FlagUp == 0 {
			err = errors.New("lo is not up")
		}
		return err
	})
	if err != nil || !ipv6Off {
		return err
	}
	return within(path, func() error {
		for _, link := range []string{"default", "lo"} {
			b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/disable_ipv6")
			if err != nil {
				return err
			}
			if strings.TrimSpace(string(b)) != "1" {
				return fmt.Errorf("IPv6 of %s is on", link)
			}
		}
		return nil
	})
}

func isPinned(path string) error {
	var sfs unix.Statfs_t
	if err := unix.Statfs(path, &sfs); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if sfs.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("%s is no namespace", path)
	}
	var here, there unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/self/ns/net", &here), unix.Stat(path, &there)); err != nil {
		return err
	}
	if here.Ino == there.Ino {
		return fmt.Errorf("%s is the host's namespace", path)
	}
	return nil
}

// within runs f on a thread in the namespace at path. The thread ends with it.
func within(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func isGone(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is still there (%v)", path, err)
	}
	return nil
}

// hasLink checks that a link is there and up, with the addresses and routes
// that were asked for, and its other end on the host up as well.
func hasLink(path string, l *link) error {
	if l.Peer != "" {
		if err := hostLink(l.Peer); err != nil {
			return err
		}
	}
	return witness(path, func(h *netlink.Handle) error {
		x, err := h.LinkByName(l.Name)
		if err != nil {
			return err
		}
		if x.Attrs().Flags&net.FlagUp == 0 {
			return fmt.Errorf("%s is not up", l.Name)
		}
		addrs, err := again(func() ([]netlink.Addr, error) { return h.AddrList(x, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		for i, p := range l.Addrs {
			at := slices.IndexFunc(addrs, func(a netlink.Addr) bool { return a.IPNet.String() == l.Nets[i].String() })
			if at < 0 {
				return fmt.Errorf("%s has no address %v", l.Name, p)
			}
			if addrs[at].Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
				return fmt.Errorf("the address %v of %s is not usable yet", p, l.Name)
			}
		}
		for i := range l.To {
			if err := findRoute(h, l.To[i], nil, x.Attrs().Index); err != nil {
				return err
			}
		}
		if l.Bridge {
			br, err := h.LinkByName("br0")
			if err != nil {
				return err
			}
			if br.Type() != "bridge" || br.Attrs().Flags&net.FlagUp == 0 || x.Attrs().MasterIndex != br.Attrs().Index {
				return fmt.Errorf("%s is no port of the bridge br0, or br0 is not up", l.Name)
			}
		}
		return nil
	})
}

// noLink checks that a link is not there.
func noLink(path, name string) error {
	return witness(path, func(h *netlink.Handle) error {
		_, err := h.LinkByName(name)
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			return nil
		}
		return fmt.Errorf("%s is there (%v)", name, err)
	})
}

// hostLink checks that the host has a link, and that it is up.
func hostLink(name string) error {
	return witness("", func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err == nil && l.Attrs().Flags&net.FlagUp == 0 {
			err = fmt.Errorf("%s is not up on the host", name)
		}
		return err
	})
}

func findRoute(h *netlink.Handle, dst *net.IPNet, via net.IP, index int) error {
	family := netlink.FAMILY_V4
	if dst.IP.To4() == nil {
		family = netlink.FAMILY_V6
	}
	filter := &netlink.Route{Dst: dst, Table: unix.RT_TABLE_MAIN}
	routes, err := again(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(family, filter, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Gw.Equal(via) && (index == 0 || r.LinkIndex == index) {
			return nil
		}
	}
	return fmt.Errorf("no route to %v via %v", dst, via)
}

func hasRoute(path string, r *route) error {
	return witness(path, func(h *netlink.Handle) error { return findRoute(h, r.Net, r.IP, 0) })
}

func noRoute(path string, r *route) error {
	if hasRoute(path, r) == nil {
		return fmt.Errorf("the route to %v is there", r.Dst)
	}
	return nil
}

// neighbors checks which of a list are permanent neighbours on eth0.
func neighbors(path string, list []*neighbor, want bool) error {
	have := map[netip.Addr]net.HardwareAddr{}
	err := witness(path, func(h *netlink.Handle) error {
		l, err := h.LinkByName("eth0")
		if err != nil {
			return err
		}
		all, err := again(func() ([]netlink.Neigh, error) { return h.NeighList(l.Attrs().Index, netlink.FAMILY_V4) })
		for _, n := range all {
			if a, ok := netip.AddrFromSlice(n.IP); ok && n.State&netlink.NUD_PERMANENT != 0 {
				have[a.Unmap()] = n.HardwareAddr
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range list {
		if mac, ok := have[n.IP]; ok != want || ok && !bytes.Equal(mac, n.MAC) {
			return fmt.Errorf("neighbour %v: there %v, with %v; of %d in all", n.IP, ok, mac, len(have))
		}
	}
	return nil
}

func hasAddr(path, dev string, a *alias, want bool) error {
	return witness(path, func(h *netlink.Handle) error {
		l, err := h.LinkByName(dev)
		if err != nil {
			return err
		}
		addrs, err := again(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		has := slices.ContainsFunc(addrs, func(x netlink.Addr) bool { return x.IPNet.String() == a.Net.String() })
		if has != want {
			return fmt.Errorf("%s has the address %v: %v, want %v", dev, a.Prefix, has, want)
		}
		return nil
	})
}

// received returns what the kernel counted.
func received(path, name string) (n uint64, err error) {
	err = witness(path, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err == nil {
			n = l.Attrs().Statistics.RxPackets
		}
		return err
	})
	return n, err
}

// linkCount returns how many links there are.
func linkCount(path string) (n int, err error) {
	err = witness(path, func(h *netlink.Handle) error {
		list, err := again(h.LinkList)
		n = len(list)
		return err
	})
	return n, err
}

// hostQuiet waits until the host has no links but lo: the kernel deletes those
// of a dead namespace a little later, and what it is still at would be counted
// against who comes next.
func hostQuiet() error {
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		n, err := linkCount("")
		if err != nil || n <= 1 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d links are left on the host", n-1)
		}
	}
}

func linkIndex(path, name string) (index int, err error) {
	err = witness(path, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err == nil {
			index = l.Attrs().Index
		}
		return err
	})
	return index, err
}
