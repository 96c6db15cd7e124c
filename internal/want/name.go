package want

import (
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
)

// MaxName is how many bytes the name of an interface can have: IFNAMSIZ of
// linux/if.h without the closing NUL.
const MaxName = 15

// ValidName returns an error for what can not be the name of an interface.
func ValidName(name string) error { return validName(name, MaxName) }

func validName(name string, most int) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fault.Invalidf("%q is no name of an interface", name)
	case len(name) > most:
		return fault.Invalidf("the interface name %q has %d bytes; the kernel takes %d", name, len(name), most)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == 0x7f }):
		return fault.Invalidf("the interface name %q has a slash, a colon, a space or a control character", name)
	case name == "all" || name == "default":
		return fault.Invalidf("the interface name %q stands for others in the kernel's settings", name)
	case strings.Contains(name, "%"):
		return fault.Invalidf("the interface name %q has a %%, which the kernel takes for a number", name)
	}
	return nil
}

// maxAltName is ALTIFNAMSIZ of linux/if.h without the closing NUL.
const maxAltName = 127

// validAltName returns an error for what can not be an alternative name of an interface.
func validAltName(name string) error {
	if plan.IsOwnName(name) {
		return fault.Invalidf("the name %q is one by which osl notes what it does", name)
	}
	return validName(name, maxAltName)
}

// MaxNetworkName keeps the name of a network from filling the alias that it is
// kept in.
const MaxNetworkName = 64

// ValidNetwork refuses what can not be the name of a network.
func ValidNetwork(name string) error {
	switch {
	case len(name) > MaxNetworkName:
		return fault.Invalidf("the network name %.20q… has %d bytes; %d are possible", name, len(name), MaxNetworkName)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }):
		return fault.Invalidf("the network name %q has a slash, a space or a control character", name)
	}
	return nil
}

// maxNote is how long a note may be: an alias has it beside the rest of the tag.
const maxNote = 160

// ValidNote returns an error for what a tag can not have as a note.
func ValidNote(note string) error {
	switch {
	case len(note) > maxNote:
		return fault.Invalidf("the note is %d bytes long, over the %d that fit", len(note), maxNote)
	case strings.ContainsFunc(note, func(r rune) bool { return r < ' ' || r > '~' || r == ';' }):
		return fault.Invalidf("the note %q is not of printable characters of ASCII without a semicolon", note)
	}
	return nil
}
