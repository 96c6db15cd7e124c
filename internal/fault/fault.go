// Package fault has the errors of osl as everything below its root makes them. The
// root turns them into those that a caller sees, and says what each of them means.
package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The sentinels of package osl.
var (
	ErrUnsupported     error = unsupported{}
	ErrClosed                = errors.New("the sandbox is closed or was destroyed")
	ErrNotNamespace          = errors.New("not a network namespace")
	ErrElsewhere       error = elsewhere{}
	ErrNotFound        error = notFound{}
	ErrExists          error = exists{}
	ErrNameInUse             = errors.New("the name is in use")
	ErrInvalid               = errors.New("invalid argument")
	ErrAddressConflict       = errors.New("the subnet is on another interface already")
	ErrUnreachable           = errors.New("not directly reachable")
	ErrPermission            = errors.New("permission denied")
	ErrTimeout               = errors.New("timed out")
	ErrIncomplete            = errors.New("could not be undone completely")
)

// Sentinels are those of which an error has one at most.
var Sentinels = []error{ErrUnsupported, ErrClosed, ErrNotNamespace, ErrNotFound, ErrExists, ErrNameInUse,
	ErrInvalid, ErrAddressConflict, ErrUnreachable, ErrPermission, ErrTimeout}

type unsupported struct{}

func (unsupported) Error() string        { return "not supported on this system" }
func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

type notFound struct{}

func (notFound) Error() string        { return "not found" }
func (notFound) Is(target error) bool { return target == fs.ErrNotExist }

type exists struct{}

func (exists) Error() string        { return "exists already" }
func (exists) Is(target error) bool { return target == fs.ErrExist }

type elsewhere struct{}

func (elsewhere) Error() string        { return "not a network namespace in this mount namespace" }
func (elsewhere) Is(target error) bool { return target == ErrNotNamespace }

// Error is the error of an operation; package osl says what the fields are.
type Error struct {
	Op        string
	Key       string
	Interface string
	Err       error
	Kernel    string
	Hint      string
	Left      []string
}

// Error returns one paragraph: what was done, to which sandbox and interface, what
// went wrong, and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("osl: " + e.Op)
	named := e.Interface == ""
	if !named && slices.Contains(beforeName, e.Op[strings.LastIndexByte(e.Op, ' ')+1:]) {
		fmt.Fprintf(&b, " %q", e.Interface)
		named = true
	}
	if e.Key != "" {
		fmt.Fprintf(&b, " (sandbox %s)", e.Key)
	}
	if !named { // the operation is about more than this one
		fmt.Fprintf(&b, ": interface %q", e.Interface)
	}
	return b.String() + ": " + e.Because(e.Err.Error())
}

// beforeName are the words with which an operation ends after which the name of its
// interface is to be read.
var beforeName = []string{"interface", "link", "to", "from", "of", "on"}

// Because returns cause with what the kernel said, what to do, and what is left.
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

// NeighborError says that a neighbor is there already, or is not there.
type NeighborError struct {
	IP, MAC string
	Present bool
}

func (n NeighborError) Error() string {
	if n.Present {
		return fmt.Sprintf("neighbor %s (%s) is already in the sandbox", n.IP, n.MAC)
	}
	return fmt.Sprintf("neighbor %s (%s) is not in the sandbox", n.IP, n.MAC)
}
