// Package oci is what osl does for a runtime of containers as the OCI specifies them:
// the hook that gives a container its network, and the devices of a configuration.
package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed59451c2b/osl"
)

// The annotations that the hook reads.
const (
	// Network is the network: a file, or a sandbox's Spec as JSON.
	Network = "org.osl.network"
	// Sandbox is what the container's sandbox is called, where that is not its id.
	Sandbox = "org.osl.sandbox"
)

// State is what a runtime tells its hooks of a container.
type State struct {
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	PID         int               `json:"pid"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations"`
}

// maxState is more than any state takes: annotations can be long.
const maxState = 16 << 20

// ReadState reads what a runtime writes to the standard input of a hook. It also
// returns the text.
func ReadState(r io.Reader) (s State, text []byte, err error) {
	text, err = io.ReadAll(io.LimitReader(r, maxState))
	if err != nil {
		return s, text, fmt.Errorf("read the container's state: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, text, fmt.Errorf("%w: standard input is no state of a container, as a runtime gives its hooks: %v", osl.ErrInvalid, err)
	}
	if s.ID == "" || s.Status == "" {
		return s, text, fmt.Errorf("%w: the state on standard input has no id, or no status", osl.ErrInvalid)
	}
	return s, text, nil
}

// Ends reports whether the state is one of the poststop hook. Another one is that of a
// container that is being made: runc calls it creating then, crun created.
func (s *State) Ends() (bool, error) {
	switch s.Status {
	case "creating", "created":
		return false, nil
	case "stopped":
		return true, nil
	}
	return false, fmt.Errorf("%w: the container's status is %q: osl oci is a hook for createRuntime and poststop", osl.ErrInvalid, s.Status)
}

// NetNS is the path of the container's network namespace.
func (s *State) NetNS() string { return fmt.Sprintf("/proc/%d/ns/net", s.PID) }

// name is what the container's sandbox is called.
func (s *State) name() string {
	if name := s.Annotations[Sandbox]; name != "" {
		return name
	}
	return s.ID
}

// errHost says that there is no network of the container's own.
var errHost = fmt.Errorf("%w: the container has no network namespace of its own: give it one, {\"type\": \"network\"} among linux.namespaces of its config.json; or the hook is not one of createRuntime, which run in the runtime's namespace", osl.ErrInvalid)

// ownNetwork makes sure that the container has one.
func (s *State) ownNetwork() error {
	if s.PID <= 0 {
		return fmt.Errorf("%w: the state on standard input has no pid", osl.ErrInvalid)
	}
	if _, err := os.Stat(s.NetNS()); err != nil {
		return fmt.Errorf("the container's network namespace: %w", err)
	}
	if same("/proc/self/ns/net", s.NetNS()) {
		return errHost
	}
	return nil
}

// owner is what the sandbox says of the container that has it: by that the hook knows
// its own.
func (s *State) owner() string { return ownerPrefix + s.ID + " " + s.Bundle }

const ownerPrefix = "oci "

// joined returns the path of the namespace that the container joined, as its
// configuration says: it outlasts the container. It is empty where the runtime made
// one, or was told another configuration.
func (s *State) joined() (string, error) {
	var config struct {
		Linux struct {
			Namespaces []struct{ Type, Path string }
		}
	}
	text, err := os.ReadFile(filepath.Join(s.Bundle, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		return "", fmt.Errorf("the container's config.json: %w", err)
	}
	for _, n := range config.Linux.Namespaces {
		if n.Type == "network" && n.Path != "" && same(n.Path, s.NetNS()) {
			return n.Path, nil
		}
	}
	return "", nil
}

// same reports whether two paths lead to the same namespace.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
