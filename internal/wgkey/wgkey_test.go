package wgkey

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Whatever prints a secret, alone or in something, prints none of it.
func TestNothingPrintsASecret(t *testing.T) {
	s := Generate()
	raw := s.Reveal()
	type inside struct {
		Key    Secret
		hidden Secret
		List   []Secret
		Any    any
	}
	x := inside{s, s, []Secret{s}, s}
	var out bytes.Buffer
	for _, v := range []any{s, &s, x, &x, x.List, map[string]Secret{"k": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	if !strings.Contains(out.String(), Hidden) {
		t.Error("nothing says that there is a key")
	}
	for _, form := range []string{base64.StdEncoding.EncodeToString(raw[:]), hex.EncodeToString(raw[:]), strings.ToUpper(hex.EncodeToString(raw[:])),
		strings.Trim(fmt.Sprint(raw[:]), "[]"), string(raw[:])} {
		if strings.Contains(out.String(), form) {
			t.Errorf("a key was printed as %q", form)
		}
	}
}

func TestKeys(t *testing.T) {
	s := Generate()
	raw := s.Reveal()
	text := base64.StdEncoding.EncodeToString(raw[:])
	same, err := ParseSecret(text)
	if err != nil || !same.Equal(s) || same.Equal(Generate()) || s.Equal(Secret{}) || !(Secret{}).Equal(Secret{}) {
		t.Errorf("ParseSecret: %v", err)
	}
	if s.Public() == (Public{}) || s.Public() != same.Public() || (Secret{}).Public() != (Public{}) {
		t.Errorf("the public key is %v", s.Public())
	}
	var p Public
	if err := p.UnmarshalText([]byte(s.Public().String())); err != nil || p != s.Public() {
		t.Errorf("a public key, written and read: %v, %v", p, err)
	}
	if !NewSecret([Size]byte{}).IsZero() || s.IsZero() || (Public{}).String() != "" {
		t.Error("zero is no key")
	}
	for _, bad := range []string{"", Hidden, text[:43], text + "=", " " + text, text[:42] + "A", hex.EncodeToString(raw[:]),
		base64.StdEncoding.EncodeToString(make([]byte, Size))} {
		_, err := ParseSecret(bad)
		if _, perr := ParsePublic(bad); err == nil || perr == nil {
			t.Errorf("%q is taken for a key", bad)
		} else if len(bad) > 40 && strings.Contains(err.Error(), bad[:20]) {
			t.Errorf("the error says the key: %v", err)
		}
	}
}
