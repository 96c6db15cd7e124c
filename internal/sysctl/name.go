package sysctl

import (
	"fmt"
	"io/fs"
	"strings"
)

// Name returns a setting's path as people write it: with dots, unless one of its
// parts has a dot.
func Name(path string) string {
	if strings.Contains(path, ".") {
		return path
	}
	return strings.ReplaceAll(path, "/", ".")
}

// Path checks a setting's path below /proc/sys/net, such as
// "ipv4/conf/eth0.100/rp_filter".
func Path(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is no name of a setting", p)
	}
	return nil
}
