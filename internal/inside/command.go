package inside

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Command returns a command that enters the network namespace at the path net when it
// is started, and then the mount namespace at the path mounts if that is not empty.
// For an empty net it is one of package os/exec.
func Command(ctx context.Context, net, mounts, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	if c.Err != nil || net == "" {
		return c
	}
	path, err := enterer()
	if err == nil && name == "" { // else the way in would be started
		err = &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	if err == nil && filepath.IsAbs(name) { // what the kernel would refuse within Start
		_, err = exec.LookPath(name)
	}
	if err != nil {
		c.Err = err
		return c
	}
	program := c.Path
	if program == "/proc/self/exe" { // which would be the way in
		program, err = ofProcess("exe")
		if err != nil {
			c.Err = err
			return c
		}
	}
	failed := fmt.Sprintf("osl: the sandbox %s can not be entered, or %s not be run there\n", net, c.Path)
	c.Args = append([]string{failed, net, mounts, program}, c.Args...)
	c.Path = path
	return c
}

// OfProcess is a path that leads to a descriptor of this process from its children
// too, where the descriptors are others.
func OfProcess(fd int) (string, error) { return ofProcess(fmt.Sprint("fd/", fd)) }

// ofProcess is what is of this process in /proc.
func ofProcess(what string) (string, error) {
	pid, err := os.Readlink("/proc/self")
	return fmt.Sprintf("/proc/%s/%s", pid, what), err
}
