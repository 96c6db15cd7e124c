// Package oslfile reads network files, as the command osl does, for programs: a package
// of its own, so that who needs no files links no YAML. docs/file.md says what is in
// them.
package oslfile

import (
	"context"
	"errors"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/check"
	"github.com/seed59451c2b/osl/internal/netfile"
)

// LoadNetwork reads the network file at path, with what it includes. Whatever is wrong
// in it is in the error with its line. A network whose file does not name it has the
// file's name, as with osl up.
func LoadNetwork(path string) (osl.Network, error) {
	f, err := netfile.ReadAll(strings.NewReader(""), path)
	if err != nil {
		return osl.Network{}, err
	}
	return f.Network, check.Validate(f.Checks)
}

// ParseNetwork decodes the text of a network file; name is what errors call it.
func ParseNetwork(name string, text []byte) (osl.Network, error) {
	f, err := netfile.Parse(name, text)
	if err != nil {
		return osl.Network{}, err
	}
	return f.Network, check.Validate(f.Checks)
}

// Result is what came of one check.
type Result = check.Result

// RunChecks makes the checks of a network that is up, all at once, and returns what came
// of each, in their order; Result.Passed says whether it is what was expected. It
// returns an error where a check is none, and where one failed.
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
