//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// store is the directory of a network in which host-local keeps what it has given out: a
// file for each address, with the container's id and the interface in it. Who works
// there holds the lock.
type store struct {
	dir  string
	lock int // a descriptor
}

const (
	lineBreak  = "\r\n" // between the id and the interface
	lockFile   = "lock"
	lastPrefix = "last_reserved_ip." // begins the files of the last addresses of the sets
)

// store opens the directory and takes the lock.
func (p *pool) store() (s *store, err error) {
	dir := p.dir
	if dir == "" {
		dir = "/var/lib/cni/networks"
	}
	s = &store{dir: filepath.Join(dir, p.network)}
	for range 2 {
		s.lock, err = unix.Open(s.path(lockFile), unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC, 0o750)
		if !errors.Is(err, unix.ENOENT) {
			break
		}
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", s.dir, err)
	}
	for {
		if err = unix.Flock(s.lock, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("lock %s: %w", s.dir, err)
	}
	return s, nil
}

func (s *store) close() { unix.Close(s.lock) }

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

// each calls f with the address of each reservation, and whose it is: an id, and a line
// break and an interface in those that are not of an old version. One that was killed
// may have left an empty one.
func (s *store) each(f func(name, owner string) error) error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	list, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	var buf [512]byte
	for _, name := range list {
		if name == lockFile || strings.HasPrefix(name, lastPrefix) {
			continue
		}
		fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue // it is nothing of host-local's
		}
		n, err := unix.Read(fd, buf[:])
		unix.Close(fd)
		if err != nil {
			continue
		}
		if err := f(name, strings.TrimSpace(string(buf[:n]))); err != nil {
			return err
		}
	}
	return nil
}

// sweep returns the addresses that an attachment has, and removes what one that was
// killed left.
func (s *store) sweep(id, ifName string) (have []netip.Addr, err error) {
	id = strings.TrimSpace(id)
	return have, s.each(func(name, owner string) error {
		ip, err := netip.ParseAddr(name)
		switch {
		case err != nil:
		case owner == "": // who wrote it had the lock
			return s.remove(name)
		case owner == id+lineBreak+ifName || owner == id:
			have = append(have, ip)
		}
		return nil
	})
}

// take reserves an address.
func (s *store) take(ip netip.Addr, of *addressRange, args *skel.CmdArgs, set int) error {
	if ip == of.Gateway {
		return fmt.Errorf("requested ip %v is subnet's gateway", ip)
	}
	ok, err := s.reserve(ip, args, set)
	if err == nil && !ok {
		err = fmt.Errorf("requested IP address %v is not available in range set %v-%v", ip, of.First, of.Last)
	}
	return err
}

// next reserves the next address of a set that is free.
func (s *store) next(set rangeSet, args *skel.CmdArgs, index int) (netip.Addr, *addressRange, error) {
	b, _ := os.ReadFile(s.path(lastPrefix + strconv.Itoa(index))) // none at first
	last, _ := netip.ParseAddr(strings.TrimSpace(string(b)))
	for ip, of := range set.after(last.Unmap()) {
		if ok, err := s.reserve(ip, args, index); ok || err != nil {
			return ip, of, err
		}
	}
	return netip.Addr{}, nil, fmt.Errorf("no IP addresses available in range set: %v", set)
}

// reserve writes the file of an address, if it is free.
func (s *store) reserve(ip netip.Addr, args *skel.CmdArgs, set int) (bool, error) {
	f, err := os.OpenFile(s.path(ip.String()), os.O_WRONLY|os.O_EXCL|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.WriteString(strings.TrimSpace(args.ContainerID) + lineBreak + args.IfName)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.WriteFile(s.path(lastPrefix+strconv.Itoa(set)), []byte(ip.String()), 0o600)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(f.Name()))
	}
	return true, nil
}

func (s *store) remove(name string) error {
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// release gives back the addresses of an attachment: those with its interface, else
// those of an old version with the id alone.
func (s *store) release(id, ifName string) error {
	id = strings.TrimSpace(id)
	var exact, old []string
	err := s.each(func(name, owner string) error {
		switch owner {
		case id + lineBreak + ifName:
			exact = append(exact, name)
		case id:
			old = append(old, name)
		}
		return nil
	})
	if exact == nil {
		exact = old
	}
	for _, name := range exact {
		err = errors.Join(err, s.remove(name))
	}
	return err
}

// collect gives back the addresses of attachments that are valid no longer.
func (s *store) collect(valid []types.GCAttachment) error {
	keep := map[string]bool{}
	for _, a := range valid {
		id := strings.TrimSpace(a.ContainerID)
		keep[id+lineBreak+a.IfName], keep[id] = true, true
	}
	return s.each(func(name, owner string) error {
		if _, err := netip.ParseAddr(name); err != nil || keep[owner] {
			return nil
		}
		return s.remove(name)
	})
}
