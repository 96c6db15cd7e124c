//go:build linux

package plan

import (
	"regexp"
	"strings"
)

var keyInCommand = regexp.MustCompile(`\{([^}]*)\}`)

// Commands returns what a person would type to do the same as op. name gives
// the name of a key that the ip command knows, and false for one that it does
// not: its path is used then.
func Commands(op Op, name func(key string) (string, bool)) []string {
	if op.Quiet {
		return nil
	}
	text := op.Do.Command(op.Dev)
	if text == "" {
		return nil
	}
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		line = keyInCommand.ReplaceAllStringFunc(line, func(m string) string {
			key := m[1 : len(m)-1]
			if key == HostNS {
				return "1" // of the process 1
			}
			n, _ := name(key)
			return n
		})
		lines = append(lines, inNamespace(op, line, name))
	}
	return lines
}

func inNamespace(op Op, line string, name func(string) (string, bool)) string {
	tool := "ip"
	if first, rest, _ := strings.Cut(line, " "); first == "sysctl" || first == "bridge" {
		tool, line = first, rest
	}
	if op.NS == HostNS {
		return tool + " " + line
	}
	n, known := name(op.NS)
	switch {
	case line == "netns add" && known:
		return "ip netns add " + n
	case line == "netns del" && known:
		return "ip netns del " + n
	case line == "netns del":
		return "umount " + n + " && rm " + n
	case line == "netns add":
		return "touch " + n + " && unshare --net=" + n + " true"
	case !known:
		return "nsenter --net=" + n + " " + tool + " " + line
	case tool == "sysctl":
		return "ip netns exec " + n + " sysctl " + line
	}
	return tool + " -n " + n + " " + line
}
