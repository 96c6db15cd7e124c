package plan

import (
	"strings"
	"syscall"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Absent reports whether err only says that what was to be taken away, or put
// back, is so already.
func Absent(err error) bool {
	e, ok := errnoOf(err)
	return ok && (isOtherQdisc(err) || e == syscall.ENODEV || e == syscall.ENOENT || e == syscall.ESRCH ||
		e == syscall.EADDRNOTAVAIL || e == syscall.EEXIST || e == syscall.ENXIO)
}

// TakesAway reports whether a step only takes something away, so that it is
// done where that is gone already.
func TakesAway(a Action) bool {
	switch a := a.(type) {
	case DelLink, DelAddr, DelRoute, DelNexthop, DelRule, DelNeigh, DelAltName, DelQdisc:
		return true
	case Again:
		return a.Type == linux.RTM_DELADDR
	}
	return false
}

// Repeatable reports whether a step can be done twice with the result of
// doing it once.
func Repeatable(a Action) bool {
	switch a := a.(type) {
	case EnsureAddr, ReplaceAddr, ReplaceRoute, ReplaceNexthop, NewNeigh, ReadLink, ChangeLink, ChangeQdisc, ReplaceQdisc:
		return true
	case SetBridge, SetPort, SetVLANs, DelVLANs:
		return true
	case SetLink:
		return a.To == nil && !strings.Contains(a.Link.Name, "%") // the next number, each time
	}
	return false
}

// There reports whether err only says that what a step makes sure of is there
// already.
func There(a Action, err error) bool {
	_, ensures := a.(EnsureAddr)
	if p, is := a.(PutBack); is { // which the kernel may not have taken along
		_, ensures = p.Kept.Route()
	}
	e, ok := errnoOf(err)
	return ensures && ok && e == syscall.EEXIST
}
