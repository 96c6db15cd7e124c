//go:build linux

package engine

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Join takes the calling thread into the sandbox at the key of a name, and leaves it
// there: its caller has locked it, and is about to become another program. It reports
// whether it did. Where a change of the sandbox is under way, or anything is not as
// it should be, it does not: Open says what, and puts it right. An error means that the
// thread is in the sandbox and can not go on elsewhere. With it go the mounts of ip netns
// exec, where the process may mount.
func Join(name string) (bool, error) {
	key, err := base.Key(name)
	if err != nil || ofThisBase(key) != nil {
		return false, nil
	}
	fd, id, err := netns.Open(key)
	if err != nil {
		return false, nil
	}
	defer unix.Close(fd)
	host := id == netns.HomeID() // what is beside the sandboxes keeps the files that it has
	err = netns.Stay(fd, settled)
	if stray := (*netns.NotHomeError)(nil); errors.As(err, &stray) {
		return false, fail("run a function in the sandbox", key, "", err)
	}
	if err != nil {
		return false, nil
	}
	if host {
		return true, nil
	}
	if err := netns.MountHere(filepath.Base(key), etcOf(key)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return false, fail("start a command in the sandbox", key, "", err)
	}
	return true, nil
}

// settled returns an error unless the thread's namespace has no change under way.
func settled() error {
	conn, err := netlink.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	var lo rtnl.Link
	if err := conn.One(context.Background(), rtnl.GetLink(1, "", &lo)); err != nil {
		return err
	}
	if underWay(&lo) {
		return errUnsettled
	}
	return nil
}
