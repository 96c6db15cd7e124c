// Package wgkey has the keys of WireGuard: Public, which anybody may see, and Secret,
// which nothing prints.
package wgkey

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
)

// Size of a key in bytes.
const Size = 32

// Hidden is what a secret is printed as.
const Hidden = "(hidden)"

var (
	errForm = errors.New("it is no key of WireGuard: that is 32 bytes in base64, as wg genkey writes them")
	errZero = errors.New("it is no key of WireGuard: it is zero")
)

// Public is a public key; zero is none.
type Public [Size]byte

// ParsePublic reads a key as wg(8) writes it.
func ParsePublic(text string) (p Public, err error) {
	b, err := parse(text)
	return Public(b), err
}

func parse(text string) (b [Size]byte, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || len(raw) != Size:
		return b, errForm // the error of base64 says a part of it
	case [Size]byte(raw) == b:
		return b, errZero
	}
	return [Size]byte(raw), nil
}

// String returns the key as wg(8) writes it, empty for none.
func (p Public) String() string {
	if p == (Public{}) {
		return ""
	}
	return base64.StdEncoding.EncodeToString(p[:])
}

// MarshalText returns what String does.
func (p Public) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what String writes.
func (p *Public) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePublic(string(b))
	return err
}

// Secret is a private or a preshared key; zero is none. It is a pointer to a pointer, so
// that fmt shows no more than an address where it is in a field that it can not ask: a
// pointer to an array it follows where the verb is none for that.
type Secret struct{ key **[Size]byte }

func secret(b [Size]byte) Secret {
	p := &b
	return Secret{&p}
}

// NewSecret returns the key of these bytes, none where all are zero.
func NewSecret(b [Size]byte) Secret {
	if b == ([Size]byte{}) {
		return Secret{}
	}
	return secret(b)
}

// ParseSecret reads a key as wg(8) writes it. Its error does not say it.
func ParseSecret(text string) (Secret, error) {
	b, err := parse(text)
	if err != nil {
		return Secret{}, err
	}
	return secret(b), nil
}

// Generate returns a new key, good as either.
func Generate() Secret {
	var b [Size]byte
	_, _ = rand.Read(b[:]) // it never fails
	// As curve25519 has it, so that the kernel keeps it as it is.
	b[0] &= 248
	b[31] = b[31]&127 | 64
	return secret(b)
}

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s.key == nil }

// Reveal returns the bytes, zeroes for none: for the kernel.
func (s Secret) Reveal() (b [Size]byte) {
	if s.key != nil {
		b = **s.key
	}
	return b
}

// Equal reports whether both are the same.
func (s Secret) Equal(o Secret) bool {
	a, b := s.Reveal(), o.Reveal()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Public returns the public key of a private one, none of none.
func (s Secret) Public() Public {
	if s.key == nil {
		return Public{}
	}
	k, err := ecdh.X25519().NewPrivateKey((*s.key)[:])
	if err != nil {
		return Public{} // any 32 bytes are one
	}
	return Public(k.PublicKey().Bytes())
}

// String says that there is a key, and not which.
func (s Secret) String() string {
	if s.key == nil {
		return ""
	}
	return Hidden
}

// Format does what String does, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue does what String does, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText does what String does.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
