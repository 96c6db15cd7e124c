//go:build !linux

package rootless

// Session is a command's stay in the user's own namespaces.
type Session struct{}

// Needed reports whether the command lacks the rights to do without.
func Needed() bool { return false }

// Joined reports false: the command is in no session.
func Joined() bool { return false }

// Strange reports whether the process has no rights over its network.
func Strange() bool { return false }

// AtOwner reports false: nothing was entered.
func AtOwner() bool { return false }

// EnterOwner is not called off Linux.
func EnterOwner(string, []string, []byte) error { return nil }

// Enter is not called off Linux.
func Enter([]string) error { return nil }

// Resume returns nil: the command is not in namespaces of its own.
func Resume() (*Session, error) { return nil, nil }

// Leave does nothing.
func (*Session) Leave() error { return nil }

// Hold is not called off Linux.
func Hold() int { return 1 }

// Base returns "".
func Base() string { return "" }
