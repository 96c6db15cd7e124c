// Package oslfile reads network files, as the command osl does, for programs: a package
// of its own, so that who needs no files links no YAML. docs/file.md says what is in
// them.
package oslfile

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/check"
	"github.com/seed59451c2b/osl/internal/netfile"
)

// LoadNetwork reads the network file at path, with what it includes. A network whose
// file does not name it has the file's name, as with osl up. Whatever is wrong in it is
// in the error with its line, and that is osl.ErrInvalid; of a file that is not there it
// is fs.ErrNotExist.
func LoadNetwork(path string) (osl.Network, error) {
	return networkOf(netfile.ReadAll(strings.NewReader(""), path))
}

// ParseNetwork decodes the text of a network file; name is what errors call it, which are
// as LoadNetwork's. It can include nothing, and the paths of keys in it are relative to
// the working directory.
func ParseNetwork(name string, text []byte) (osl.Network, error) {
	return networkOf(netfile.Parse(name, text))
}

func networkOf(f *netfile.File, err error) (osl.Network, error) {
	var bad *check.Invalid
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, new(*fs.PathError)):
		return osl.Network{}, err
	case err != nil:
		return osl.Network{}, wrong{err}
	case errors.As(check.ValidateFile(f.Network), &bad):
		return osl.Network{}, wrong{f.Problem(bad.Path(), "%s", bad.Text)}
	}
	return f.Network, nil
}

// wrong is an error of what is in a file.
type wrong struct{ error }

func (wrong) Is(target error) bool { return target == osl.ErrInvalid }

// Result is what came of one check.
type Result = check.Result

// RunChecks makes the checks of a network that is up, all at once, and returns what came
// of each, in their order; Result.Passed says whether it is what was expected. A check is
// tried for as long as its Timeout, and ends with ctx. The error is osl.ErrInvalid where a
// check is none, and nothing is made then; where some failed it names each of them. It
// needs what osl.Open and InvokeFunc need.
func RunChecks(ctx context.Context, network osl.Network) ([]Result, error) {
	if err := check.Validate(network.Checks); err != nil {
		return nil, err
	}
	var open []*osl.Namespace
	defer func() {
		for _, n := range open {
			_ = n.Close() // it only looked
		}
	}()
	results := check.Run(ctx, network.Checks, func(name string) (check.Enter, error) {
		n, err := osl.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		open = append(open, n)
		return n.InvokeFunc, nil
	})
	var failed []error
	for _, r := range results {
		if !r.Passed {
			failed = append(failed, errors.New(r.From+": "+r.Check+": "+r.Result+", not "+r.Expect+": "+r.Detail))
		}
	}
	return results, errors.Join(failed...)
}
