package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is docker's, and tags leave out what needs C libraries.
const (
	module = "github.com/docker/docker"
	tags   = "exclude_graphdriver_btrfs exclude_graphdriver_devicemapper exclude_disk_quota"
)

// suites are the packages of libnetwork that have tests and use its osl, but for osl
// itself, whose tests look at what is inside it.
var suites = []string{"libnetwork", "libnetwork/config", "libnetwork/drivers/bridge", "libnetwork/drivers/ipvlan",
	"libnetwork/drivers/macvlan", "libnetwork/drivers/overlay", "libnetwork/netutils"}

func main() {
	dir := flag.String("o", ".", "the `directory` that they are built into")
	flag.Parse()
	err := build(*dir, *dir, "docker")
	if err == nil {
		err = build(*dir, filepath.Join(*dir, "osl"), "osl")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dockerd:", err)
		os.Exit(1)
	}
}

// build builds a side into out: dockerd, docker-proxy and the tests of libnetwork. Docker's
// own is built where it is missing; dir keeps what the one on osl is made of.
func build(dir, out, side string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	var options []string
	if side == "osl" {
		if options, err = replaced(filepath.Join(dir, "src"), out); err != nil {
			return err
		}
	} else if _, err := os.Stat(filepath.Join(out, "built")); err == nil {
		return nil
	}
	for _, command := range []string{"dockerd", "docker-proxy"} {
		if err := run(append(append([]string{"build", "-tags", tags, "-o", out + "/"}, options...), module+"/cmd/"+command)...); err != nil {
			return err
		}
	}
	test := append([]string{"test", "-vet=off", "-tags", tags, "-c", "-o", out + "/"}, options...)
	for _, s := range suites {
		test = append(test, module+"/"+s)
	}
	if err := run(test...); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "built"), nil, 0o644)
}

// run runs the go command in this module.
func run(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// replaced returns the options of the go command that put osl in the place of docker's
// package, without a change to docker's source: the go command replaces no file in its
// cache of modules, so it reads a copy of the module at src.
func replaced(src, out string) ([]string, error) {
	if err := errors.Join(source(src), os.MkdirAll(out, 0o755)); err != nil {
		return nil, err
	}
	// What the files of this map say is read in the place of the others; those without
	// one are not there.
	files := map[string]string{}
	theirs, err := filepath.Glob(filepath.Join(src, "libnetwork", "osl", "*.go"))
	if err != nil || len(theirs) == 0 {
		return nil, fmt.Errorf("%s has no package osl: %w", src, err)
	}
	for _, path := range theirs {
		files[path] = ""
	}
	for _, name := range []string{"osl", "types"} {
		shim, err := filepath.Abs(filepath.Join("shim", name, "shim.go"))
		if err != nil {
			return nil, err
		}
		files[filepath.Join(src, "libnetwork", name, "shim.go")] = shim
	}
	path := filepath.Join(src, "libnetwork", "types", "types.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	before, after, ok := strings.Cut(string(text), "// StaticRoute is ")
	_, after, ends := strings.Cut(after, "\n/****")
	if !ok || !ends {
		return nil, fmt.Errorf("%s does not have StaticRoute and InterfaceStatistics where they were", path)
	}
	files[path] = filepath.Join(out, "types.go")
	overlay, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return nil, err
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return nil, err
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		return nil, err
	}
	return []string{"-overlay", filepath.Join(out, "overlay.json"), "-modfile", filepath.Join(out, "osl.mod")}, errors.Join(
		os.WriteFile(files[path], []byte(before+"/****"+after), 0o644),
		os.WriteFile(filepath.Join(out, "overlay.json"), overlay, 0o644),
		os.WriteFile(filepath.Join(out, "osl.mod"), fmt.Appendf(mod, "\nreplace %s => %s\n", module, src), 0o644),
		os.WriteFile(filepath.Join(out, "osl.sum"), sum, 0o644))
}

// source makes the copy of docker's module, where it is missing.
func source(src string) error {
	if _, err := os.Stat(src); err == nil {
		return nil
	}
	get := exec.Command("go", "mod", "download", "-json", module)
	get.Env = append(os.Environ(), "GOWORK=off")
	out, err := get.Output()
	if err != nil {
		return fmt.Errorf("download %s: %w", module, err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(src+".new"), os.CopyFS(src+".new", os.DirFS(m.Dir))); err != nil {
		return err
	}
	// The module has no go.mod, and what is replaced must have one.
	if err := os.WriteFile(filepath.Join(src+".new", "go.mod"), []byte("module "+module+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(src+".new", src)
}
