package fault

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/seed59451c2b/osl/internal/where"
)

// Invalidf returns an ErrInvalid that says what is wrong.
func Invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// In returns the error of an operation on an interface of a sandbox. A cause that is
// an *Error already keeps what it says, and gets what it lacks; fresh reports that
// it was none.
func In(op, key, dev string, err error) (e *Error, fresh bool) {
	if !errors.As(err, &e) {
		return &Error{Op: op, Key: key, Interface: dev, Err: err}, true
	}
	c := *e
	c.Op = op
	if field, entry := where.Of(err); field != "" {
		if in, _ := where.Of(e.Err); in == "" { // it stood around e
			c.Err = where.In(field, entry, e.Err)
		}
	}
	if c.Key == "" {
		c.Key = key
	}
	if c.Interface == "" {
		c.Interface = dev
	}
	return &c, false
}

// At says of an error which interface of which sandbox it is about.
func At(key, dev string, err error) error {
	if err == nil {
		return nil
	}
	e, _ := In("", key, dev, err)
	return e
}

// caused is a sentinel with its cause.
type caused struct{ sentinel, cause error }

// Because gives a cause its sentinel. What both say is said once.
func Because(sentinel, cause error) error { return caused{sentinel, cause} }

func (c caused) Unwrap() []error { return []error{c.sentinel, c.cause} }

// sayNoMore are the error numbers that say no more than their sentinel.
var sayNoMore = map[syscall.Errno]bool{syscall.EINVAL: true, syscall.EEXIST: true, syscall.EPERM: true, syscall.EACCES: true,
	syscall.ENOENT: true, syscall.ESRCH: true, syscall.EOPNOTSUPP: true, syscall.ETIMEDOUT: true}

func (c caused) Error() string {
	sentinel, cause := c.sentinel.Error(), c.cause.Error()
	if e, ok := c.cause.(syscall.Errno); ok && sayNoMore[e] {
		return sentinel
	}
	if strings.Contains(cause, sentinel) {
		return cause
	}
	return sentinel + ": " + cause
}

type worded struct {
	text string
	err  error
}

func (w worded) Error() string { return w.text }
func (w worded) Unwrap() error { return w.err }

// Worded says in words what err says otherwise.
func Worded(text string, err error) error { return worded{text, err} }
