//go:build !linux

package base

// Default returns the base path that Linux would have.
func Default() string { return "/run" }
