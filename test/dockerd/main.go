package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tags leave out what needs C libraries.
const tags = "exclude_graphdriver_btrfs exclude_graphdriver_devicemapper exclude_disk_quota"

// version is one of docker's daemon.
type version struct {
	name   string // also of the directory of what is put in its packages' place, in shim
	module string
	mod    string   // the directory of the go.mod that requires it
	net    string   // where it has libnetwork
	shims  []string // the packages of libnetwork that something is put into; osl is replaced
	// suites are the packages of libnetwork that have tests and use its osl, but for osl
	// itself, whose tests look at what is inside it.
	suites []string
}

var versions = []*version{
	{name: "v2", module: "github.com/moby/moby/v2", mod: "shim/v2", net: "daemon/libnetwork", shims: []string{"osl"},
		suites: []string{"", "drivers/overlay"}},
	{name: "v23", module: "github.com/docker/docker", mod: ".", net: "libnetwork", shims: []string{"osl", "types"},
		suites: []string{"", "config", "drivers/bridge", "drivers/ipvlan", "drivers/macvlan", "drivers/overlay", "netutils"}},
}

func main() {
	dir := flag.String("o", ".", "the `directory` that they are built into, one below it for each version")
	missing := flag.Bool("missing", false, "build the versions only that are not there")
	flag.Parse()
	for _, v := range versions {
		if err := v.both(*dir, *missing); err != nil {
			fmt.Fprintln(os.Stderr, "dockerd:", err)
			os.Exit(1)
		}
	}
}

// both builds both sides of a version.
func (v *version) both(dir string, missing bool) error {
	called, err := v.called()
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, called)
	if missing && isBuilt(filepath.Join(dir, "osl")) {
		return nil
	}
	if err := v.build(dir, dir, "docker"); err != nil {
		return err
	}
	return v.build(dir, filepath.Join(dir, "osl"), "osl")
}

// called is the name of the directory of a version: dockerd- and its number.
func (v *version) called() (string, error) {
	text, err := os.ReadFile(filepath.Join(v.mod, "go.mod"))
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(v.module) + ` v(\S+?)(\+incompatible)?$`).FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s/go.mod does not require %s", v.mod, v.module)
	}
	return "dockerd-" + string(m[1]), nil
}

func isBuilt(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "built"))
	return err == nil
}

// build builds a side into out: dockerd, docker-proxy and the tests of libnetwork. Docker's
// own is built where it is missing; dir keeps what the one on osl is made of.
func (v *version) build(dir, out, side string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	var options []string
	if side == "osl" {
		if options, err = v.replaced(filepath.Join(dir, "src"), out); err != nil {
			return err
		}
	} else if isBuilt(out) {
		return nil
	}
	for _, command := range []string{"dockerd", "docker-proxy"} {
		if err := v.run(append(append([]string{"build", "-tags", tags, "-o", out + "/"}, options...), v.module+"/cmd/"+command)...); err != nil {
			return err
		}
	}
	test := append([]string{"test", "-vet=off", "-tags", tags, "-c", "-o", out + "/"}, options...)
	for _, s := range v.suites {
		test = append(test, strings.TrimSuffix(v.module+"/"+v.net+"/"+s, "/"))
	}
	if err := v.run(test...); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "built"), nil, 0o644)
}

// run runs the go command in the module that requires the version.
func (v *version) run(args ...string) error {
	cmd := v.command(args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (v *version) command(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = v.mod, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return cmd
}

// replaced returns the options of the go command that put osl in the place of docker's
// package, without a change to docker's source: the go command replaces no file in its
// cache of modules, so it reads a copy of the module at src.
func (v *version) replaced(src, out string) ([]string, error) {
	if err := errors.Join(v.source(src), os.MkdirAll(out, 0o755)); err != nil {
		return nil, err
	}
	// What the files of this map say is read in the place of the others; those without
	// one are not there.
	files := map[string]string{}
	net := filepath.Join(src, filepath.FromSlash(v.net))
	theirs, err := filepath.Glob(filepath.Join(net, "osl", "*.go"))
	if err != nil || len(theirs) == 0 {
		return nil, fmt.Errorf("%s has no package osl: %w", src, err)
	}
	for _, path := range theirs {
		files[path] = ""
	}
	for _, name := range v.shims {
		ours, err := filepath.Glob(filepath.Join("shim", v.name, name, "*.go"))
		if err != nil || len(ours) == 0 {
			return nil, fmt.Errorf("there is nothing for the package %s of %s: %w", name, v.name, err)
		}
		for _, path := range ours {
			abs, err := filepath.Abs(path)
			if err != nil {
				return nil, err
			}
			files[filepath.Join(net, name, filepath.Base(path))] = abs
		}
	}
	if slices.Contains(v.shims, "types") {
		if err := withoutShared(net, out, files); err != nil {
			return nil, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return nil, err
	}
	mod, err := os.ReadFile(filepath.Join(v.mod, "go.mod"))
	if err != nil {
		return nil, err
	}
	sum, err := os.ReadFile(filepath.Join(v.mod, "go.sum"))
	if err != nil {
		return nil, err
	}
	return []string{"-overlay", filepath.Join(out, "overlay.json"), "-modfile", filepath.Join(out, "osl.mod")}, errors.Join(
		os.WriteFile(filepath.Join(out, "overlay.json"), overlay, 0o644),
		os.WriteFile(filepath.Join(out, "osl.mod"), fmt.Appendf(mod, "\nreplace %s => %s\n", v.module, src), 0o644),
		os.WriteFile(filepath.Join(out, "osl.sum"), sum, 0o644))
}

// withoutShared puts docker's types without those of which the ones of osl take the place
// into out, and says so in files.
func withoutShared(net, out string, files map[string]string) error {
	path := filepath.Join(net, "types", "types.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, after, ok := strings.Cut(string(text), "// StaticRoute is ")
	_, after, ends := strings.Cut(after, "\n/****")
	if !ok || !ends {
		return fmt.Errorf("%s does not have StaticRoute and InterfaceStatistics where they were", path)
	}
	files[path] = filepath.Join(out, "types.go")
	return os.WriteFile(files[path], []byte(before+"/****"+after), 0o644)
}

// source makes the copy of docker's module, where it is missing.
func (v *version) source(src string) error {
	if _, err := os.Stat(src); err == nil {
		return nil
	}
	out, err := v.command("mod", "download", "-json", v.module).Output()
	if err != nil {
		return fmt.Errorf("download %s: %w", v.module, err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(src+".new"), os.CopyFS(src+".new", os.DirFS(m.Dir))); err != nil {
		return err
	}
	// What is replaced must have a go.mod, which not every version has.
	mod := filepath.Join(src+".new", "go.mod")
	if _, err := os.Stat(mod); errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(mod, []byte("module "+v.module+"\n"), 0o644)
		if err != nil {
			return err
		}
	}
	return os.Rename(src+".new", src)
}
