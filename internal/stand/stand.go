// Package stand says what a sandbox holds: what the engine read of one becomes what
// Inspect tells (Sandbox), what Info does (Info), and what Spec and Export do (Spec,
// Connect). The last is the way back of packages want and plan: what it says is, when
// it is applied, what stands. It makes no system call.
package stand

import (
	"net"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// Reading is what a sandbox was found to hold.
type Reading struct {
	Name, Key string
	State     *plan.State // the links in the order in which they came
	// Where the namespace was found, if osl pinned it at the key, and whose it is.
	From, Owner string
	// Asked are the settings that were asked for, as they are; of the host those that a network
	// turned on. Masquerades are the host's.
	Asked       plan.Set
	Masquerades []Masquerade
	// Of a change that has not come to its end are all of it, or some links.
	All  bool
	Some map[int]bool
}

// Standing is a reading with all that it takes to make another sandbox like it.
type Standing struct {
	*Reading
	// Far are what links are connected with in other namespaces, by the indexes of
	// these: the other end of a pair, or the link below. What is in none of the base
	// path is not there.
	Far map[int]Far
	// Settings are those that differ from what a new sandbox has.
	Settings plan.Set
}

// Masquerade is one of a network.
type Masquerade struct {
	want.Masq
	Network string
}

// Far is a link of another namespace.
type Far struct {
	Sandbox string // its name, want.HostName for the host
	Link    rtnl.Link
	Master  string // the name of what it is a port of
}

// Held is what a sandbox holds, as far as Info tells.
type Held struct {
	plan.State
	Adopted
}

// Adopted is what Restore took over from a sandbox whose objects have no tags.
type Adopted struct {
	Sources  map[int]string // names of links, by index
	Gateways [2]net.IP
	Statics  []*types.StaticRoute
}
