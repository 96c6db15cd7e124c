//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/want"
)

// lockWait bounds the waiting for another operation on the same key.
const lockWait = 30 * time.Second

var locks netns.Locks

// lock keeps other operations on key away, in this process and in others. Where no
// sandbox is left in the base path when it is let go of, its file goes too.
func lock(ctx context.Context, key string) (unlock func(), err error) {
	l := lockOf(key)
	h, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	return func() { l.letGo(h) }, nil
}

// held is a lock that is held.
type held struct {
	netns.Held
	made string // the outermost directory that was made for its file, empty for none
}

// letGo lets go of a lock, and of its file where no sandbox is left, with what was
// made for it.
func (l lockID) letGo(h held) {
	if !netns.Empty(base.KeysIn(l.base)) {
		h.Unlock()
		return
	}
	h.Retire()
	if h.made != "" {
		base.Unmake(l.base, h.made)
	}
}

// lockSet is the locks of one operation on several sandboxes, which takes them
// in the order of their keys, so that nobody waits for each other.
type lockSet struct {
	ids   []lockID
	held  []held
	stays bool // one of the sandboxes stays, and the lock file with it
}

func (s *lockSet) take(ctx context.Context, key string) error {
	return s.add(ctx, lockOf(key))
}

func (s *lockSet) add(ctx context.Context, id lockID) error {
	h, err := id.take(ctx)
	if err == nil {
		s.ids, s.held = append(s.ids, id), append(s.held, h)
	}
	return err
}

// network takes the lock of a network by its name, before those of its sandboxes: which
// these are is looked for then, and nobody else makes or ends one of it meanwhile.
func (s *lockSet) network(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	id := lockOf(filepath.Join(base.KeysIn(base.PathIn(ctx)), want.HostName))
	id.key = "network " + name + " of " + id.base // no key begins so
	return fail("lock the network", "", "", s.add(ctx, id))
}

// letGo lets go of all. While others are held the lock file stays anyway.
func (s *lockSet) letGo() {
	for i, h := range slices.Backward(s.held) {
		last := !slices.ContainsFunc(s.ids[:i], func(l lockID) bool { return l.file == s.ids[i].file })
		if s.stays || !last {
			h.Unlock()
		} else {
			s.ids[i].letGo(h)
		}
	}
}

// baseOf returns the base path whose lock file serves key.
func baseOf(key string) string {
	if path := base.Holding(filepath.Dir(key)); path != "" {
		return path
	}
	return base.Path()
}

// canonical returns the one path that all spellings of a key have in common,
// also before its directory is there.
func canonical(key string) string { return places{}.canonical(key) }

// places are the directories of keys, and where they are. Who asks for many keys at once
// keeps it, so that each directory is looked for once.
type places map[string]string

func (p places) canonical(key string) string {
	dir := filepath.Dir(key)
	at, known := p[dir]
	if !known {
		at = whereIs(dir)
		p[dir] = at
	}
	return filepath.Join(at, filepath.Base(key))
}

// whereIs returns the path of a directory without symbolic links, as far as it is there.
func whereIs(dir string) string {
	rest := ""
	for ; dir != "/"; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
			break
		}
	}
	return filepath.Join(dir, rest)
}

// keysOf returns what the names of a network stand for. A file with a key, which may be a
// pipe, is read once.
func keysOf(ctx context.Context) want.Keys {
	read := map[string]string{}
	file := func(path string) (text string, err error) {
		text, known := read[path]
		if !known {
			if text, err = keyFile(path); err == nil {
				read[path] = text
			}
		}
		return text, err
	}
	return want.Keys{Same: places{}.canonical, File: file,
		Path: func(name string) (string, error) { return base.KeyIn(ctx, name) },
		Name: func(key string) string { return base.NameIn(ctx, key) }}
}

// lockID is where the lock of a key is. It is worked out once for a handle.
type lockID struct{ base, file, key string }

func lockOf(key string) lockID { return places{}.lockOf(key) }

func (p places) lockOf(key string) lockID {
	key = p.canonical(key)
	path := baseOf(key)
	return lockID{base: path, file: filepath.Join(path, "osl.lock"), key: key}
}

// inLockOrder returns keys in the order in which locks are taken, which is the same however
// they are spelt, and the locks.
func inLockOrder(keys []string) (order []string, ids map[string]lockID) {
	ids = make(map[string]lockID, len(keys))
	at := places{}
	for _, key := range keys {
		ids[key] = at.lockOf(lockKey(key))
	}
	order = slices.Clone(keys)
	slices.SortFunc(order, func(a, b string) int { return cmp.Compare(ids[a].key, ids[b].key) })
	return order, ids
}

// take waits for the lock, to do anything.
func (l lockID) take(ctx context.Context) (held, error) {
	h, err := l.share(ctx)
	if err == nil {
		h.See(netns.ID{})
	}
	return h, err
}

// share waits for the lock, for who leaves the key as it is.
func (l lockID) share(ctx context.Context) (h held, err error) {
	h.made, err = base.Ready(l.base)
	for tries := 0; err == nil; tries++ {
		h.Held, err = locks.Lock(ctx, lockWait, l.file, l.key)
		if !errors.Is(err, fs.ErrNotExist) || l.base != canonical(base.PathIn(ctx)) || tries == 3 {
			break
		}
		// Another process that made the directory may take it away again at once.
		var made string
		made, err = base.Make(l.base)
		h.made = cmp.Or(h.made, made)
	}
	if err != nil && h.made != "" {
		base.Unmake(l.base, h.made)
	}
	return h, err
}
