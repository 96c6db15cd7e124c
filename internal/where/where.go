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
// destination, "sysctls" and the name. Without a field it is err itself.
func In(field, name string, err error) error {
	if err == nil || field == "" {
		return err
	}
	return &part{field, name, err}
}

// Below returns the way from what Of returns to the part that it is about, where an In was told
// within another one: ".via" from an entry of "routes". A field that begins with a bracket is a
// place in a list.
func Below(err error) (way string) {
	var p *part
	if !errors.As(err, &p) {
		return ""
	}
	for errors.As(p.err, &p) {
		if p.field[0] != '[' {
			way += "."
		}
		way += p.field
	}
	return way
}

// Of returns what In was told, of several around each other the outer one.
func Of(err error) (field, name string) {
	var p *part
	if errors.As(err, &p) {
		return p.field, p.name
	}
	return "", ""
}

// beside is a cause, with what it is about besides.
type beside struct {
	key, iface, field, entry string
	err                      error
}

func (b *beside) Error() string { return b.err.Error() }
func (b *beside) Unwrap() error { return b.err }

// Beside returns err with another interface that it is about, which was there first.
func Beside(key, iface string, err error) error { return &beside{key: key, iface: iface, err: err} }

// BesideIn does so with another part of the same sandbox.
func BesideIn(field, entry string, err error) error {
	return &beside{field: field, entry: entry, err: err}
}

// First returns what Beside or BesideIn was told; ok is false where neither was.
func First(err error) (key, iface, field, entry string, ok bool) {
	var b *beside
	if !errors.As(err, &b) {
		return "", "", "", "", false
	}
	return b.key, b.iface, b.field, b.entry, true
}
