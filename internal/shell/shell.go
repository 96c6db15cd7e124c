// Package shell writes commands that do, where a person pastes them, what osl
// does.
package shell

import (
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/seed59451c2b/osl/internal/sysctl"
)

// host stands for the host's namespace where a key is expected.
const host = ""

// Shell says how a shell reaches the namespaces.
type Shell struct {
	base  string
	byIP  bool   // ip knows the keys of the base path
	osl   string // the command by which other keys are reached; empty for their paths
	apart bool   // the shell is outside of the namespaces that osl is in
}

type reach struct {
	osl   string
	apart bool
}

var told atomic.Pointer[reach]

// SetReach says how the shell that the commands are for reaches osl: the command
// with its options, and whether the shell is outside of the namespaces that osl
// is in. The osl command knows both; a program that does not say is in its own.
func SetReach(osl string, apart bool) { told.Store(&reach{osl, apart}) }

// For returns the shell for the keys of a base path. The ip command knows those
// at /run/netns, where the shell sees the same /run; the others are reached
// through osl.
func For(base string) Shell {
	sh := Shell{base: base, osl: "osl --base " + Quote(base)}
	if r := told.Load(); r != nil {
		sh.osl, sh.apart = r.osl, r.apart
	}
	if base == "/run" && !sh.apart {
		sh.byIP, sh.osl = true, ""
	}
	return sh
}

// otherNS marks the name of another namespace in a command.
const otherNS = "\x00"

// ownBase is how a command that osl starts in a session finds the base path.
const ownBase = `"$OSL_BASE"`

// NS stands for the name of another namespace in a command.
func NS(key string) string { return otherNS + key + otherNS }

// Quote makes one word of a shell out of s.
func Quote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/,=+@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Name returns how a key is written in a command, and whether ip knows it so.
func (sh Shell) Name(key string) (name string, known bool) {
	if short := sh.short(key); sh.byIP && short != key {
		return Quote(short), true
	}
	return Quote(key), false
}

// Setting returns the command that gives settings their values: paths below
// /proc/sys/net. One with a dot in a name is written with slashes.
func Setting(settings ...[2]string) string {
	line := "sysctl -w"
	for _, x := range settings {
		line += " " + Quote(sysctl.Name("net/"+x[0])+"="+x[1])
	}
	return line
}

// tools are those that a line may begin with; ip's has it left out.
var tools = []string{"sysctl", "bridge", "ethtool", "tc", "nft", "wg"}

// Command returns the command that runs line in the namespace of a key: of ip,
// unless line begins with another tool.
func (sh Shell) Command(key, line string) string {
	line = sh.names(line)
	tool := "ip"
	if first, rest, _ := strings.Cut(line, " "); slices.Contains(tools, first) {
		tool, line = first, rest
	}
	plain := tool + " " + line
	if strings.Contains(line, "$PPID") || strings.Contains(line, ownBase) {
		plain = "sh -c " + Quote(plain)
	}
	if key == host {
		if sh.apart {
			return sh.osl + " exec host -- " + plain
		}
		return plain
	}
	name, known := sh.Name(key)
	makes := line == "netns add"
	switch {
	case makes && known:
		return "ip netns add " + name
	case makes && sh.osl != "":
		return sh.osl + " create " + Quote(sh.short(key))
	case makes:
		return "touch " + name + " && unshare --net=" + name + " true"
	case !known && sh.osl != "":
		return sh.osl + " exec " + Quote(sh.short(key)) + " -- " + plain
	case !known:
		return "nsenter --net=" + name + " " + plain
	case tool == "sysctl" || tool == "ethtool" || tool == "wg":
		return "ip netns exec " + name + " " + tool + " " + line
	}
	return tool + " -n " + name + " " + line
}

// Removal returns the command that removes a sandbox.
func (sh Shell) Removal(key string) string {
	name, known := sh.Name(key)
	switch {
	case known:
		return "ip netns del " + name
	case sh.osl != "":
		return sh.osl + " rm " + Quote(sh.short(key))
	}
	return "umount " + name + " && rm " + name
}

func (sh Shell) short(key string) string { return Short(sh.base, key) }

// Short returns the name of a key of the base path, else the key.
func Short(base, key string) string {
	if dir, name := filepath.Split(key); filepath.Clean(dir) == filepath.Join(base, "netns") {
		return name
	}
	return key
}

// names puts the names of other namespaces into a command.
func (sh Shell) names(line string) string {
	parts := strings.Split(line, otherNS)
	for i := 1; i < len(parts); i += 2 {
		switch key := parts[i]; {
		case key == host && sh.apart:
			parts[i] = "/proc/$PPID/ns/net" // of the osl that starts the command
		case key == host:
			parts[i] = "/proc/$$/ns/net" // of the shell
		case sh.apart && sh.short(key) != key:
			parts[i] = ownBase + "/netns/" + Quote(sh.short(key)) // each session has another
		default:
			parts[i], _ = sh.Name(key)
		}
	}
	return strings.Join(parts, "")
}
