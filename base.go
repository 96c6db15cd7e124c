package osl

import (
	"context"
	"path/filepath"

	"github.com/seed59451c2b/osl/internal/base"
)

// SetBasePath sets the directory below which the keys of names and ids are, as
// path/netns/NAME, from now on. An empty path is the default again, see
// [BasePath]. Sandboxes that are open keep their keys.
func SetBasePath(path string) { base.Set(path) }

// BasePath returns the base path: what SetBasePath set, else /run where the
// process may write there, so that ip netns sees every sandbox, else a directory
// of the user's: osl in $XDG_RUNTIME_DIR or /run/user/UID, or /tmp/osl-UID. In a
// user namespace other than the machine's first it is one of this user namespace
// only, user-INODE in that.
func BasePath() string { return base.Path() }

// KeyPath returns the key of a sandbox: that of a name in the base path, or
// the path itself if name has a slash. It returns ErrInvalid for what can be
// neither.
func KeyPath(name string) (string, error) {
	key, err := base.Key(name)
	return key, public(err)
}

// GenerateKey generates a sandbox key based on the passed container id: the
// path of its first 12 characters in the base path. An id that begins with "-"
// names a key that exists: of the files that are a number and then the id, cut
// to 11 characters, the one with the highest number; the result is empty if
// there is none, or if the id can be no file name.
func GenerateKey(containerID string) string { return base.Generate(containerID) }

// Base is a base path of its own: what its methods name, list and apply is below it,
// whatever [SetBasePath] says, so that two users of this package in one process do not
// meet. So is what a handle that it opened names, such as the sandbox of another end. The
// functions of this package are those of the process's base path. Links of the host are
// there once, for all.
type Base struct{ path string }

// At returns the base path at a directory, which is made with the first sandbox; its
// keys are path/netns/NAME. An empty path, and the zero Base, is the process's.
func At(path string) Base {
	if path == "" {
		return Base{}
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return Base{path}
}

// Path returns the directory.
func (b Base) Path() string { return base.PathIn(b.in(context.Background())) }

// KeyPath returns the key of a sandbox, as the function [KeyPath] does.
func (b Base) KeyPath(name string) (string, error) {
	key, err := base.KeyIn(b.in(context.Background()), name)
	return key, public(err)
}

func (b Base) in(ctx context.Context) context.Context {
	if b.path == "" {
		return ctx
	}
	return base.In(ctx, b.path)
}

// Create makes a sandbox, as the function [Create] does.
func (b Base) Create(ctx context.Context, name string, options ...CreateOption) (*Namespace, error) {
	return Create(b.in(ctx), name, options...)
}

// Open opens a sandbox, as the function [Open] does.
func (b Base) Open(ctx context.Context, name string) (*Namespace, error) {
	return Open(b.in(ctx), name)
}

// Remove destroys a sandbox, as the function [Remove] does.
func (b Base) Remove(ctx context.Context, name string, options ...RemoveOption) error {
	return Remove(b.in(ctx), name, options...)
}

// Recover puts right what a process that died left, as the function [Recover] does.
func (b Base) Recover(ctx context.Context, name string) error { return Recover(b.in(ctx), name) }

// List returns the sandboxes by name, as the function [List] does.
func (b Base) List(ctx context.Context) ([]Entry, error) { return List(b.in(ctx)) }

// Apply brings sandboxes to what net says, as the function [Apply] does.
func (b Base) Apply(ctx context.Context, net Network) (Changes, error) { return Apply(b.in(ctx), net) }

// Diff returns what Apply would do, as the function [Diff] does.
func (b Base) Diff(ctx context.Context, net Network) (Changes, error) { return Diff(b.in(ctx), net) }

// Down destroys the sandboxes of net, as the function [Down] does.
func (b Base) Down(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	return Down(b.in(ctx), net, options...)
}

// DiffDown returns what Down would do, as the function [DiffDown] does.
func (b Base) DiffDown(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	return DiffDown(b.in(ctx), net, options...)
}

// Export reads what stands as a network, as the function [Export] does.
func (b Base) Export(ctx context.Context, names ...string) (Network, error) {
	return Export(b.in(ctx), names...)
}
