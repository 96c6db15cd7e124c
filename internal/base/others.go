//go:build !linux

package base

import "errors"

// Default returns the base path that Linux would have.
func Default() string { return "/run" }

// Make refuses: there are no sandboxes on this system.
func Make(string) (made string, err error) { return "", errors.ErrUnsupported }

// Unmake has nothing to take away.
func Unmake(dir, made string) {}
