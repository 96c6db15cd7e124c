package engine

import (
	"net"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// What a Change does to a sandbox as a whole.
const (
	Edit  = "edit"
	Make  = "make"
	End   = "remove"
	Leave = "leave" // what osl put in is taken out, and the namespace stays
)

// Change is one step of a change, for a person.
type Change struct {
	Sandbox   string
	Kind      string
	Interface string // that a Leave takes out
	Command   string
}

// Entry is a sandbox in a list; osl.Entry says what the fields are.
type Entry struct {
	Name       string
	Key        string
	Made       bool
	Network    string
	Labels     map[string]string
	Interfaces int
	Problem    string
}

// Reading is what a sandbox was found to hold.
type Reading struct {
	Key   string
	State *plan.State // the links in the order in which they came
	Rules []rtnl.Rule
	// Of a change that has not come to its end are all of it, or some links.
	All  bool
	Some map[int]bool
}

// Adopted is what Restore took over from a sandbox whose objects have no tags.
type Adopted struct {
	Links    map[int]string // source names by index
	Gateways [2]net.IP
	Routes   []*types.StaticRoute
}
