package osl

import (
	"errors"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
)

// The sentinels that errors.Is finds in what this package returns. Where the
// kernel refused something, the error number (a syscall.Errno) is found too.
var (
	// ErrUnsupported is returned by every call off Linux, and on Linux for a
	// kind of link or a property that the running kernel lacks. It is also
	// errors.ErrUnsupported.
	ErrUnsupported = fault.ErrUnsupported
	// ErrClosed is returned by a call on a sandbox that was destroyed, closed,
	// or whose key now holds another namespace.
	ErrClosed = fault.ErrClosed
	// ErrNotNamespace is returned when a key is something else than a network
	// namespace: a plain file, a directory, a symbolic link, a device.
	ErrNotNamespace = fault.ErrNotNamespace
	// ErrElsewhere is returned for a key that is a plain file here, while its
	// namespace is mounted in another mount namespace, or may be: to remove or
	// replace the file would end the sandbox for who uses it there. Error.Hint
	// says where that is. It is also ErrNotNamespace.
	ErrElsewhere = fault.ErrElsewhere
	// ErrNotFound is returned when a sandbox, an interface or a route that a
	// call needs does not exist. It is also fs.ErrNotExist.
	ErrNotFound = fault.ErrNotFound
	// ErrExists is returned when what is to be made exists already. It is also
	// fs.ErrExist.
	ErrExists = fault.ErrExists
	// ErrNameInUse is returned when the name that an interface is to have is
	// taken where it is to go. The interface stays where it was.
	ErrNameInUse = fault.ErrNameInUse
	// ErrInvalid is returned for an argument that can never work, before
	// anything is changed.
	ErrInvalid = fault.ErrInvalid
	// ErrAddressConflict is returned when the subnet of an address is on
	// another interface of the sandbox already.
	ErrAddressConflict = fault.ErrAddressConflict
	// ErrUnreachable is returned for a gateway or next hop that no interface
	// of the sandbox reaches directly.
	ErrUnreachable = fault.ErrUnreachable
	// ErrPermission is returned when the process lacks a capability.
	ErrPermission = fault.ErrPermission
	// ErrTimeout is returned when the kernel, or the holder of a sandbox's
	// lock, did not answer before the deadline.
	ErrTimeout = fault.ErrTimeout
	// ErrIncomplete is returned, beside the cause, when a change failed and
	// could not be undone wholly either. Error.Left says what is left.
	ErrIncomplete = fault.ErrIncomplete
)

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
func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Because returns cause, which says what went wrong in the caller's words, with
// what the kernel said, what to do, and what is left.
func (e *Error) Because(cause string) string { return (*fault.Error)(e).Because(cause) }

// Unwrap returns the cause, and ErrIncomplete where something is left.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// NeighborSearchError indicates that the neighbor is already present, or that
// it is not there to be deleted.
type NeighborSearchError struct {
	ip      string
	mac     string
	present bool
}

func (n NeighborSearchError) Error() string {
	return fault.NeighborError{IP: n.ip, MAC: n.mac, Present: n.present}.Error()
}

// public turns what the engine returned into what a caller sees.
func public(err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *fault.Error:
		if e == nil {
			return nil
		}
		var n fault.NeighborError
		if errors.As(e.Err, &n) {
			e.Err = fault.Worded(e.Err.Error(), errors.Join(e.Err, NeighborSearchError{n.IP, n.MAC, n.Present}))
		}
		return (*Error)(e)
	case fault.NeighborError:
		return NeighborSearchError{e.IP, e.MAC, e.Present}
	case interface{ Unwrap() []error }: // of several operations
		all := slices.Clone(e.Unwrap())
		for i := range all {
			all[i] = public(all[i])
		}
		return errors.Join(all...)
	}
	return err
}
