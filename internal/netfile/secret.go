package netfile

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// secret decodes a key that nobody is to read, not in an error either: what is said of it
// is where it stands, and which variable it lacks.
func (d *decoder) secret(n ast.Node, key *osl.SecretKey, path string) {
	bad := func(text string) { d.bare(n, text) }
	field := path[strings.LastIndex(path, ".")+1:]
	var text string
	switch x := n.(type) {
	case *ast.StringNode:
		text = x.Value
	case *ast.LiteralNode:
		text = strings.TrimSpace(x.Value.Value)
	default:
		bad("the " + field + " is no text: write 32 bytes in base64, or better a variable, ${NAME}")
		return
	}
	missing := ""
	text, err := expand(text, func(name string) (string, bool) {
		value, set := os.LookupEnv(name)
		if !set {
			missing = name
		}
		return value, set
	})
	switch {
	case err != nil && missing != "":
		bad("the " + field + ": the environment has no variable " + missing)
	case err != nil:
		bad("the " + field + " is no variable: write ${NAME}")
	case text != "": // else as if it was not written
		if err := key.UnmarshalText([]byte(text)); err != nil {
			bad("the " + field + ": " + reason(err))
		}
	}
}

// bare notes a problem without the line where it is.
func (d *decoder) bare(n ast.Node, text string) {
	pos := position(n)
	d.problems = append(d.problems, &problem{name: d.src.name, line: pos.Line, col: pos.Column, text: text, bare: true})
}

// isKeyFile tells the fields that name a file, relative to the one that they stand in.
// It is asked of each text in a file, so it has no regular expression.
func isKeyFile(path string) bool {
	return strings.HasSuffix(path, ".private_key_file") || strings.HasSuffix(path, ".preshared_key_file")
}

// located returns a text that names a file as it can be opened from here. A key in its
// place would be shown as the name of a file that is not there.
func (d *decoder) located(n ast.Node, text, path string) string {
	if !isKeyFile(path) {
		return text
	}
	if _, err := osl.ParseSecretKey(text); err == nil {
		d.bare(n, "this is a key, where the name of a file with one belongs")
		return ""
	}
	if text != "" && !filepath.IsAbs(text) && d.src.info != nil {
		return filepath.Join(filepath.Dir(d.src.name), text)
	}
	return text
}

// In a line of a file that is shown, what may be a secret: what stands at the name of one,
// and whatever has the form of a key, but at the name of a public one.
var (
	secretFields = pattern(`((?:private|preshared)_key["']?\s*:\s*)([^\s,{}]+)`)
	keyForm      = pattern(`(public_key["']?\s*:\s*["']?)?[A-Za-z0-9+/]{42,43}=?`)
)

// hideSecrets puts as many stars in the place of what may be a secret, so that what else
// stands in the line is where it was. A variable is none.
func hideSecrets(line string) string {
	line = secretFields().ReplaceAllStringFunc(line, func(s string) string {
		at := secretFields().FindStringSubmatchIndex(s)
		if strings.HasPrefix(strings.Trim(s[at[4]:], `"'`), "$") {
			return s
		}
		return s[:at[4]] + strings.Repeat("*", len([]rune(s[at[4]:])))
	})
	return keyForm().ReplaceAllStringFunc(line, func(s string) string {
		if strings.HasPrefix(s, "public_key") {
			return s
		}
		return strings.Repeat("*", len(s))
	})
}
