package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// inMachine runs suites on one of Debian's kernels, where the plugins have the kinds of
// links that this one may lack.
func inMachine(kernel string, only, with []string, focus string, list bool) error {
	work, err := build(only, with)
	if err != nil {
		return err
	}
	// What a machine has is in its memory: the sources are left out.
	files, err := os.MkdirTemp(work, "machine-") // /tmp is another one there
	if err != nil {
		return err
	}
	defer os.RemoveAll(files)
	bin := filepath.Join(files, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	wanted := []string{"osl-cni", "go"}
	for _, d := range delegates {
		wanted = append(wanted, filepath.Base(d))
	}
	for _, side := range with {
		for _, name := range only {
			wanted = append(wanted, filepath.Base(binary(work, name, side)), filepath.Join(side, name))
		}
	}
	for _, name := range wanted {
		err := os.MkdirAll(filepath.Dir(filepath.Join(bin, name)), 0o755)
		if err == nil {
			err = os.Link(filepath.Join(work, "bin", name), filepath.Join(bin, name))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := command("", "go", "build", "-o", filepath.Join(bin, "cni"), "github.com/seed59451c2b/osl/test/cni").Run(); err != nil {
		return fmt.Errorf("build this program: %w", err)
	}
	there := []string{filepath.Join(bin, "cni"), "-built", files, "-only", strings.Join(only, ","), "-with", strings.Join(with, ",")}
	if focus != "" {
		there = append(there, "-focus", focus)
	}
	if list {
		there = append(there, "-list")
	}
	cmd := command("", "go", "run", "github.com/seed59451c2b/osl/test/kernel", "-kernel", kernel, "-timeout", "90m",
		"-files", files, "-programs", "ping,nft", "-command", strings.Join(there, " "))
	cmd.Stdout = os.Stdout
	return cmd.Run()
}
