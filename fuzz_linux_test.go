package osl_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/want"
)

// A name of a sandbox becomes a file in the directory of the keys, or is a path
// that its caller wrote, or is refused; and its key names the same sandbox.
func FuzzKeyPath(f *testing.F) {
	for _, s := range []string{"blue", "a.b", "..", "../x", "./x", "/run/netns/x", "/", "a/../../x", "host", "a b", "\x00", "é", "\xff", strings.Repeat("k", 256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key, err := osl.KeyPath(name)
		if err != nil {
			if !errors.Is(err, osl.ErrInvalid) || key != "" {
				t.Errorf("%q: %q, %v", name, key, err)
			}
			return
		}
		if !filepath.IsAbs(key) || filepath.Clean(key) != key || strings.Contains(key, "\x00") {
			t.Errorf("%q has the key %q", name, key)
		}
		if !strings.Contains(name, "/") && filepath.Dir(key) != filepath.Join(osl.BasePath(), "netns") {
			t.Errorf("the name %q leads out of the directory: %q", name, key)
		}
		if again, err := osl.KeyPath(key); err != nil || again != key {
			t.Errorf("the key %q is read as %q, %v", key, again, err)
		}
		if again, err := osl.KeyPath(base.NameOf(key)); err != nil || again != key {
			t.Errorf("%q of the key %q is read as %q, %v", base.NameOf(key), key, again, err)
		}
	})
}

// An id never leads out of the directory of the keys, whatever it is.
func FuzzGenerateKey(f *testing.F) {
	for _, s := range []string{"0123456789abcdef", "", ".", "..", "-", "-x", "../../etc", "a\x00b", "............................", "\xff\xfe", "éééééééééé"} {
		f.Add(s)
	}
	dir := filepath.Join(osl.BasePath(), "netns")
	f.Fuzz(func(t *testing.T, id string) {
		key := osl.GenerateKey(id)
		if key == "" {
			return
		}
		if name := filepath.Base(key); filepath.Join(dir, name) != key || !strings.HasPrefix(id, name) || len(name) > 12 {
			t.Errorf("%q has the key %q", id, key)
		}
	})
}

// What a network file says of names and addresses is refused as invalid, or
// comes back as it was written.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"eth0", "eth0.100", "a/b", "a/b/c", "/", "host/eth0", "lo", "%d", "all", "02:00:00:00:00:01", "0200.0000.0001",
		"02-00-00-00-00-01", "02:00:00:00:00:00:00:01", "\x00", "äöüäöüäö", "a\u00a0b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := want.ValidName(s); err != nil && !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("interface %q: %v", s, err)
		} else if err == nil && (len(s) > 15 || s == "" || strings.ContainsAny(s, "/: \t\n\x00%")) {
			t.Errorf("interface %q is accepted", s)
		}
		var e osl.Endpoint
		if err := e.UnmarshalText([]byte(s)); err != nil && !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("end of a link %q: %v", s, err)
		} else if err == nil {
			if text, err := e.MarshalText(); err != nil || string(text) != s || e.Sandbox == "" || e.Interface == "" || strings.Contains(e.Interface, "/") {
				t.Errorf("end of a link %q: %+v, %v", s, e, err)
			}
		}
		var m, again osl.MAC
		if err := m.UnmarshalText([]byte(s)); err != nil && !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("hardware address %q: %v", s, err)
		} else if err == nil {
			text, err := m.MarshalText()
			if err != nil || again.UnmarshalText(text) != nil || again.String() != m.String() || len(m) != 6 {
				t.Errorf("hardware address %q: %q, %v", s, text, err)
			}
		}
	})
}
