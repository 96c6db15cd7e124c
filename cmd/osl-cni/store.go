//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
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
// there holds the lock. osl-cni gives each a second name.
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

// second is the second name of a reservation, a hard link: it tells whose that is, so
// that not each has to be read. For the plugin it is one more file of the attachment,
// which goes with it.
func second(owner, address string) string { return hashOf(owner) + "." + address }

const secondPrefix = "osl."

func hashOf(owner string) string {
	h := sha256.Sum256([]byte(owner))
	return fmt.Sprintf("%s%x", secondPrefix, h[:8])
}

// names lists the directory: the inode of each name.
func (s *store) names() (list map[string]uint64, err error) {
	fd, err := unix.Open(s.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	list = map[string]uint64{}
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Getdents(fd, buf)
		if err != nil || n <= 0 {
			return list, err
		}
		for b := buf[:n]; len(b) > 19; { // struct linux_dirent64: the inode, an offset, the length, the type, and the name
			size := int(binary.NativeEndian.Uint16(b[16:]))
			name, _, _ := bytes.Cut(b[19:size], []byte{0})
			list[string(name)] = binary.NativeEndian.Uint64(b)
			b = b[size:]
		}
	}
}

// each calls f with the address of each reservation that may be of an owner, of all
// without one, and whose it is: an id, and a line break and an interface in those that
// are not of an old version. One that was killed may have left an empty one.
func (s *store) each(owner string, f func(name, owner string) error) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	others := map[string]bool{} // reservations that are known to be of another owner
	for name, inode := range names {
		if !strings.HasPrefix(name, secondPrefix) {
			continue
		}
		hash, address, _ := strings.Cut(name[len(secondPrefix):], ".")
		switch {
		case names[address] != inode: // the plugin took the reservation away, and was killed
			_ = os.Remove(s.path(name))
		case owner != "" && secondPrefix+hash != hashOf(owner):
			others[address] = true
		}
	}
	var buf [512]byte
	for name := range names {
		if others[name] || name == lockFile || strings.HasPrefix(name, lastPrefix) || strings.HasPrefix(name, secondPrefix) {
			continue
		}
		fd, err := unix.Open(s.path(name), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
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

// ownerOf is what is in the reservations of an attachment.
func ownerOf(id, ifName string) string { return strings.TrimSpace(id) + lineBreak + ifName }

// sweep returns the addresses that an attachment has, and removes what one that was
// killed left.
func (s *store) sweep(id, ifName string) (have []netip.Addr, err error) {
	mine := ownerOf(id, ifName)
	err = s.each(mine, func(name, owner string) error {
		ip, err := netip.ParseAddr(name)
		switch {
		case err != nil:
		case owner == "": // who wrote it had the lock
			return s.remove(name, owner)
		case owner == mine || owner == strings.TrimSpace(id):
			have = append(have, ip)
		}
		return nil
	})
	return have, err
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
	owner := ownerOf(args.ContainerID, args.IfName)
	_, err = f.WriteString(owner)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.WriteFile(s.path(lastPrefix+strconv.Itoa(set)), []byte(ip.String()), 0o600)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(f.Name()))
	}
	_ = os.Link(f.Name(), s.path(second(owner, ip.String()))) // without, it is read each time
	return true, nil
}

// remove takes a reservation away, its second name first: one of these alone would be
// of who has the address next.
func (s *store) remove(name, owner string) error {
	_ = os.Remove(s.path(second(owner, name))) // it may have none
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// release gives back the addresses of an attachment: those with its interface, else
// those of an old version with the id alone. What one that was killed began, and which
// says not whose it is, goes too.
func (s *store) release(id, ifName string) error {
	mine := ownerOf(id, ifName)
	found := map[string][]string{}
	err := s.each(mine, func(name, owner string) error {
		if _, err := netip.ParseAddr(name); owner == "" && err == nil { // who wrote it had the lock
			return s.remove(name, owner)
		}
		found[owner] = append(found[owner], name)
		return nil
	})
	if found[mine] == nil {
		mine = strings.TrimSpace(id)
	}
	for _, name := range found[mine] {
		err = errors.Join(err, s.remove(name, mine))
	}
	return err
}

// collect gives back the addresses of attachments that are valid no longer.
func (s *store) collect(valid []types.GCAttachment) error {
	keep := map[string]bool{}
	for _, a := range valid {
		id := strings.TrimSpace(a.ContainerID)
		keep[ownerOf(id, a.IfName)], keep[id] = true, true
	}
	return s.each("", func(name, owner string) error {
		if _, err := netip.ParseAddr(name); err != nil || keep[owner] {
			return nil
		}
		return s.remove(name, owner)
	})
}
