package want

import "slices"

// OfSpec is what a *osl.Spec asks for. Package osl sets it, for those that have read one and
// import that package: its types are known there only.
var OfSpec func(spec any) Sandbox

// Alone returns why a sandbox can not be as it says, whatever else is in its network. Of its
// interfaces those that are ends of links may lack a type.
func (s *Sandbox) Alone() error {
	w := *s
	w.Interfaces = slices.Clone(s.Interfaces)
	for i := range w.Interfaces {
		w.Interfaces[i].Segment = ""
	}
	itself := func(name string) string { return name }
	net := Network{Sandboxes: []Sandbox{w}}
	_, err := net.Plan(Keys{Path: func(name string) (string, error) { return name, nil }, Same: itself, Name: itself})
	return err
}
