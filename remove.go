package osl

// RemoveOption is an option of [Remove] and [Down].
type RemoveOption func(*removal)

type removal struct{ force bool }

// WithForce also takes the key of a namespace away that another program made.
// Without it osl takes out what it put in, and leaves the namespace at its key.
// The namespace ends where nothing else holds it. A key in /proc stays.
func WithForce() RemoveOption { return func(r *removal) { r.force = true } }

func removalOf(options []RemoveOption) (r removal) {
	for _, o := range options {
		if o != nil {
			o(&r)
		}
	}
	return r
}
