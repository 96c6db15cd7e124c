//go:build !linux

package check

import "syscall"

// allErrors leaves the socket as it is.
func allErrors(_, _ string, _ syscall.RawConn) error { return nil }
