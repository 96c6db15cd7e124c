//go:build unix

package netfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// secretText is a key that a file of the tests has.
const secretText = "QLpd5pLkbn1nvpQL3LeEc+tN6Ux8h2h1z0lGmQm5q3U="

// A key of a file is decoded, and shown by nothing that is written of the file: whatever
// is wrong in it, or in its line.
func TestSecrets(t *testing.T) {
	t.Setenv("OSL_TEST_KEY", secretText)
	t.Setenv("OSL_TEST_NONE", "")
	frame := func(g string) string {
		return "sandboxes:\n- name: a\n  interfaces:\n  - name: wg0\n    type: wireguard\n    wireguard: " + g + "\n"
	}
	want, err := osl.ParseSecretKey(secretText)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []string{"{private_key: \"${OSL_TEST_KEY}\"}", "{private_key: " + secretText + "}", "\n      private_key: |\n        " + secretText,
		"{private_key: '" + secretText + "'}", "{private_key: \"${NO_SUCH:-" + secretText + "}\"}"} {
		f, err := Parse("n.yaml", []byte(frame(g)))
		if err != nil {
			t.Errorf("%s: %v", g, err)
			continue
		}
		if got := f.Sandboxes[0].Interfaces[0].WireGuard.PrivateKey; got.Public() != want.Public() {
			t.Errorf("%s: another key", g)
		}
		if text := string(Text(f)) + fmt.Sprintf("%+v", f.Network) + f.Problem("sandboxes[0].interfaces[0].wireguard.private_key", "x").Error(); strings.Contains(text, secretText[:12]) {
			t.Errorf("%s: it is shown: %s", g, text)
		}
	}
	f, err := Parse("n.yaml", []byte(frame("{private_key: \"${OSL_TEST_NONE}\", private_key_file: wg.key}")))
	if err != nil || !f.Sandboxes[0].Interfaces[0].WireGuard.PrivateKey.IsZero() || f.Sandboxes[0].Interfaces[0].WireGuard.PrivateKeyFile != "wg.key" {
		t.Errorf("an empty variable is no key: %v", err)
	}
	for g, says := range map[string]string{
		"{private_key: " + secretText[:30] + "}":           "n.yaml:6: the private_key: it is no key",
		"{private_key: x" + secretText + "}":               "n.yaml:6: the private_key: it is no key",
		"{private_key: {a: " + secretText + "}}":           "n.yaml:6: the private_key is no text",
		"{private_key: [" + secretText + "]}":              "n.yaml:6: the private_key is no text",
		"{private_key: \"${" + secretText + "}\"}":         "n.yaml:6: the private_key is no variable",
		"{private_key: \"${NO_SUCH_KEY}\"}":                "n.yaml:6: the private_key: the environment has no variable NO_SUCH_KEY",
		"{private_key_file: " + secretText + "}":           "n.yaml:6: this is a key",
		"{private_kye: " + secretText + "}":                `did you mean "private_key"`,
		"{private_key: " + secretText + ", listen_prt: 1}": `did you mean "listen_port"`,
		"{private_key: \"" + secretText + "\", fwmark: x}": "expected a whole number",
		secretText: "expected a wireguard",
		"{peers: [{preshared_key: " + secretText + ", endpoint: x}]}": "n.yaml:6: ",
		"{private_key: " + secretText + ": }":                         "n.yaml:6: ",
		"\n      private_key:\n       - " + secretText:                "n.yaml:8: the private_key is no text",
		"{listen_port: " + secretText + "}":                           "expected a whole number",
		"{private_key: &k " + secretText + ", fwmark: *j}":            "n.yaml:6: no anchor",
	} {
		_, err := Parse("n.yaml", []byte(frame(g)))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: no %q in: %v", g, says, err)
		}
		if err != nil && (strings.Contains(err.Error(), secretText[:12]) || strings.Contains(err.Error(), secretText[20:32])) {
			t.Errorf("%s: the error says the key: %v", g, err)
		}
	}
	// What is no secret stays.
	_, err = Parse("n.yaml", []byte(frame("{peers: [{public_key: "+secretText+", endpoint: x}], private_key: \"${OSL_TEST_KEY}\"}")))
	if err == nil || !strings.Contains(err.Error(), secretText[20:]) || !strings.Contains(err.Error(), "${OSL_TEST_KEY}") {
		t.Errorf("a public key, or a variable, is not shown: %v", err)
	}
}

// The file of a key is found from the file that names it.
func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "n.yaml")
	text := "sandboxes: [{name: a, interfaces: [{name: wg0, type: wireguard, wireguard: {private_key_file: keys/a, peers: [{preshared_key_file: /etc/b}]}}]}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g := f.Sandboxes[0].Interfaces[0].WireGuard; g.PrivateKeyFile != filepath.Join(dir, "keys/a") || g.Peers[0].PresharedKeyFile != "/etc/b" {
		t.Errorf("%+v", g)
	}
	if f, err = Parse("n.yaml", []byte(text)); err != nil || f.Sandboxes[0].Interfaces[0].WireGuard.PrivateKeyFile != "keys/a" {
		t.Errorf("of a text: %v", err)
	}
}
