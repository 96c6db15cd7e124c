package engine

import "github.com/seed59451c2b/osl/internal/plan"

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
	Interface string
	Command   string
	plan.Said
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
