// Package where says which part of a network an error is about, so that who has
// the network from a file can say the line.
package where

import "errors"

// part is a cause, with what it is about.
type part struct {
	field, name string
	err         error
}

func (p *part) Error() string { return p.err.Error() }
func (p *part) Unwrap() error { return p.err }

// In returns err with the field of an interface or a sandbox that it is about,
// as files call it, and of a list or a map the entry: "routes" and the
// destination, "sysctls" and the name.
func In(field, name string, err error) error {
	if err == nil {
		return nil
	}
	return &part{field, name, err}
}

// Of returns what In was told.
func Of(err error) (field, name string) {
	var p *part
	if errors.As(err, &p) {
		return p.field, p.name
	}
	return "", ""
}
