package osl

import "github.com/seed59451c2b/osl/internal/base"

// SetBasePath sets the base url prefix for the ns path: the keys of names and
// ids are path/netns/NAME from now on. An empty path is the default again, see
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
