package sysctl

import "strings"

// Name returns a setting's path as people write it: with dots, unless one of its
// parts has a dot.
func Name(path string) string {
	if strings.Contains(path, ".") {
		return path
	}
	return strings.ReplaceAll(path, "/", ".")
}
