//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
)

// deadKey is the error about a key that is what a sandbox leaves behind when its
// namespace is unmounted: an empty plain file, and nobody has the mount.
type deadKey struct{ error }

func (e deadKey) Unwrap() error { return e.error }

// isDead reports whether a key is one that may be removed.
func isDead(err error) bool {
	var d deadKey
	return errors.As(err, &d)
}

// whatIsThere says more of a key that is no namespace, which err says: a dead one
// is a deadKey, and one that is mounted elsewhere, or may be, an
// *netns.Elsewhere. For the others the namespace is there, and would be gone with
// the file.
func whatIsThere(key string, err error) error {
	if !errors.Is(err, netns.ErrNotNamespace) {
		return err
	}
	switch dead, elsewhere := netns.Dead(key, base.IsOwn(baseOf(key))); {
	case elsewhere != nil:
		return ofElsewhere(key, elsewhere)
	case dead:
		return deadKey{err}
	}
	return err
}

// ofElsewhere says what can be done with a key that can not be used here.
func ofElsewhere(key string, err error) error {
	e := &fault.Error{Key: key, Err: fmt.Errorf("%w: %w", fault.ErrElsewhere, err)}
	var where *netns.Elsewhere
	switch errors.As(err, &where); {
	case where.Here != "":
		e.Hint = fmt.Sprintf("use it by that path, as the sandbox %q", where.Here)
	case where.PID != 0:
		e.Hint = fmt.Sprintf("use it there: nsenter -t %d -m osl …", where.PID)
	case where.At != "":
		e.Hint = fmt.Sprintf("use it there: nsenter --mount=%s osl …", where.At)
	default:
		e.Hint = "if you know that nobody uses it, remove it with: rm " + key
	}
	return e
}

// standing returns nil for a key that is a namespace, and else what it is.
func standing(key string) error {
	fd, _, err := netns.Open(key)
	if err != nil {
		return whatIsThere(key, err)
	}
	return unix.Close(fd)
}

// vacant makes sure that nothing is at key. A dead one is removed.
func vacant(key string) error {
	switch err := standing(key); {
	case err == nil:
		return fault.ErrExists
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case isDead(err):
		return netns.Unpin(key)
	default:
		return err
	}
}
