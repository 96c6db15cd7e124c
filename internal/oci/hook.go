package oci

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/seed59451c2b/osl"
)

// Up gives a container its network: all of it, or nothing. What it has already is left
// alone. Where the process has no rights over the host's network, alone is set: then
// the namespace is not pinned, and ends with the container.
func Up(ctx context.Context, s State, alone bool) error {
	if err := s.ownNetwork(); err != nil {
		return err
	}
	w, err := s.network(alone)
	if err != nil {
		return err
	}
	if alone {
		return w.apply(ctx)
	}
	n, err := s.adopt(ctx)
	if err != nil {
		return err
	}
	err = w.apply(ctx)
	if n == nil {
		return err
	}
	if err != nil {
		err = errors.Join(err, n.Destroy())
	}
	return errors.Join(err, n.Close())
}

// adopt pins the container's namespace under its name; what a container left there
// that ended without its poststop hook goes first. It returns nil where the namespace
// is at that key already.
func (s *State) adopt(ctx context.Context) (*osl.Namespace, error) {
	from := s.NetNS()
	if path, err := s.joined(); err != nil {
		return nil, err
	} else if path != "" {
		from = path
	}
	key, err := osl.KeyPath(s.name())
	for err == nil {
		var n *osl.Namespace
		if n, err = osl.Adopt(ctx, from, key, s.owner()); err == nil {
			return n, nil
		}
		if !errors.Is(err, osl.ErrExists) {
			break
		}
		if same(key, from) {
			return nil, nil
		}
		var gone bool
		if gone, err = s.clear(ctx, isStale); err == nil && !gone {
			err = &osl.Error{Op: "pin the container's network", Key: key, Err: fmt.Errorf("%w, and is not this container's", osl.ErrExists),
				Hint: "give this one another name, by its id or the annotation " + Sandbox}
		}
	}
	return nil, err
}

// Down takes a container's network away. What is half there, gone, or never was, and
// what is of another, is none.
func Down(ctx context.Context, s State) error {
	_, err := s.clear(ctx, s.isOwn)
	if isFile(err) {
		// What is left of a pin that came to nothing, or none of osl's.
		if err = osl.Remove(ctx, s.name()); isFile(err) {
			err = nil
		}
	}
	if errors.Is(err, osl.ErrNotFound) || errors.Is(err, osl.ErrInvalid) {
		return nil // a name that can be none had no network
	}
	return err
}

// isFile reports whether a key is something else than a namespace, here and elsewhere.
func isFile(err error) bool {
	return errors.Is(err, osl.ErrNotNamespace) && !errors.Is(err, osl.ErrElsewhere)
}

// clear takes the sandbox of the container's name away if it is one that may go, and
// reports whether it is gone. Opening it puts right what a hook that was killed left.
func (s *State) clear(ctx context.Context, may func(*osl.Status) bool) (gone bool, err error) {
	n, err := osl.Open(ctx, s.name())
	if errors.Is(err, osl.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer n.Close()
	st, err := n.Inspect(ctx)
	if err != nil {
		return false, err
	}
	if !may(st) {
		slog.Debug("oci: the sandbox is not of this container, and stays", "key", n.Key(), "owner", st.Owner)
		return false, nil
	}
	return true, n.Destroy()
}

// isOwn reports whether the hook pinned a sandbox for this container.
func (s *State) isOwn(st *osl.Status) bool { return st.Owner == s.owner() }

// isStale reports whether a sandbox is of a container that ended without its poststop
// hook.
func isStale(st *osl.Status) bool {
	return strings.HasPrefix(st.Owner, ownerPrefix) && !same(st.From, st.Key)
}
