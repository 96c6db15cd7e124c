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

// Slashed returns the path below /proc/sys/net of what people write. As sysctl(8) has it, the
// first separator is the one that separates, and the other stands for it within a part:
// "ipv4.conf.eth0/100.rp_filter" is "ipv4/conf/eth0.100/rp_filter".
func Slashed(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "net."), "net/")
	if first := strings.IndexAny(name, "./"); first < 0 || name[first] == '/' {
		return name
	}
	return strings.Map(func(c rune) rune {
		switch c {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return c
	}, name)
}

// Path checks a setting's path below /proc/sys/net, such as
// "ipv4/conf/eth0.100/rp_filter".
func Path(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is no name of a setting", p)
	}
	return nil
}
