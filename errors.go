package osl

import (
	"errors"
	"fmt"
	"strings"
)

// The sentinels that errors.Is finds in what this package returns. Where the
// kernel refused something, the error number (a syscall.Errno) is found too.
var (
	// ErrUnsupported is returned by every call off Linux, and on Linux for a
	// kind of link or a property that the running kernel lacks. It is also
	// errors.ErrUnsupported.
	ErrUnsupported error = unsupported{}

	// ErrClosed is returned by a call on a sandbox that was destroyed, closed,
	// or whose key now holds another namespace.
	ErrClosed = errors.New("the sandbox is closed or was destroyed")

	// ErrNotNamespace is returned when a key is something else than a network
	// namespace: a plain file, a directory, a symbolic link, a device.
	ErrNotNamespace = errors.New("not a network namespace")

	// ErrElsewhere is returned for a key that is a plain file here, while its
	// namespace is mounted in another mount namespace, or may be: to remove or
	// replace the file would end the sandbox for who uses it there. Error.Hint
	// says where that is. It is also ErrNotNamespace.
	ErrElsewhere error = elsewhere{}

	// ErrNotFound is returned when a sandbox, an interface or a route that a
	// call needs does not exist.
	ErrNotFound = errors.New("not found")

	// ErrExists is returned when what is to be made exists already.
	ErrExists = errors.New("exists already")

	// ErrNameInUse is returned when the name that an interface is to have is
	// taken where it is to go. The interface stays where it was.
	ErrNameInUse = errors.New("the name is in use")

	// ErrInvalid is returned for an argument that can never work, before
	// anything is changed.
	ErrInvalid = errors.New("invalid argument")

	// ErrAddressConflict is returned when the subnet of an address is on
	// another interface of the sandbox already.
	ErrAddressConflict = errors.New("the subnet is on another interface already")

	// ErrUnreachable is returned for a gateway or next hop that no interface
	// of the sandbox reaches directly.
	ErrUnreachable = errors.New("not directly reachable")

	// ErrPermission is returned when the process lacks a capability.
	ErrPermission = errors.New("permission denied")

	// ErrTimeout is returned when the kernel, or the holder of a sandbox's
	// lock, did not answer before the deadline.
	ErrTimeout = errors.New("timed out")

	// ErrIncomplete is returned, beside the cause, when a change failed and
	// could not be undone wholly either. Error.Left says what is left.
	ErrIncomplete = errors.New("could not be undone completely")
)

type unsupported struct{}

func (unsupported) Error() string        { return "not supported on this system" }
func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

type elsewhere struct{}

func (elsewhere) Error() string        { return "not a network namespace in this mount namespace" }
func (elsewhere) Is(target error) bool { return target == ErrNotNamespace }

// Error is the error of every operation of this package.
type Error struct {
	// Op is the operation, in words: "add interface", "set gateway".
	Op string
	// Key is the path of the sandbox, empty where there is none.
	Key string
	// Interface is the interface that the operation was about, by the name
	// that the caller used; empty where there is none.
	Interface string
	// Err is the cause. It wraps a sentinel of this package, an error number,
	// or both.
	Err error
	// Kernel is the kernel's own explanation, where it gave one.
	Kernel string
	// Hint says what can be done about it, where that is known.
	Hint string
	// Left lists, after a failure whose undo failed too, what is still there
	// and how to mend it, one sentence each.
	Left []string
}

// Error returns one paragraph: what was done, to which sandbox and interface,
// what went wrong, in the kernel's words too, and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("osl: " + e.Op)
	if e.Interface != "" {
		fmt.Fprintf(&b, " %q", e.Interface)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, " (sandbox %s)", e.Key)
	}
	return b.String() + ": " + e.Because(e.Err.Error())
}

// Because returns cause, which says what went wrong in the caller's words, with
// what the kernel said, what to do, and what is left.
func (e *Error) Because(cause string) string {
	var b strings.Builder
	b.WriteString(cause)
	if e.Kernel != "" && !strings.Contains(cause, e.Kernel) {
		fmt.Fprintf(&b, " (kernel: %s)", e.Kernel)
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	for _, l := range e.Left {
		b.WriteString("; left behind: " + l)
	}
	return b.String()
}

// Unwrap returns the cause, and ErrIncomplete where something is left.
func (e *Error) Unwrap() []error {
	if len(e.Left) > 0 {
		return []error{e.Err, ErrIncomplete}
	}
	return []error{e.Err}
}

// NeighborSearchError indicates that the neighbor is already present, or that
// it is not there to be deleted.
type NeighborSearchError struct {
	ip      string
	mac     string
	present bool
}

func (n NeighborSearchError) Error() string {
	if n.present {
		return fmt.Sprintf("neighbor %s (%s) is already in the sandbox", n.ip, n.mac)
	}
	return fmt.Sprintf("neighbor %s (%s) is not in the sandbox", n.ip, n.mac)
}

// invalidf returns an ErrInvalid that says what is wrong.
func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
