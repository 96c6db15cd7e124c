package engine

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/want"
)

// Validate returns what is wrong with a network as it is written, on every system.
func Validate(net want.Network) error {
	_, err := net.Plan(want.Keys{Path: base.Key, Same: filepath.Clean, Name: base.NameOf, File: keyFile})
	if err == nil {
		return nil
	}
	e, _ := fault.In("validate the network", "", "", err)
	return e
}

// maxKeyFile is more than a key and a line break.
const maxKeyFile = 128

// keyFile reads a file with a key of WireGuard. One that is a pipe is read to its end, and
// not waited for where nobody writes.
func keyFile(path string) (string, error) {
	f, err := os.OpenFile(path, keyFlags, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", err
	}
	if len(b) == 0 {
		return "", fault.Invalidf("the file %s is empty", path)
	}
	return strings.TrimSpace(string(b)), nil
}
