package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is where the suites are from.
const module = "github.com/containernetworking/plugins@v1.10.0"

// suites are the plugins whose suites are run.
var suites = []string{"bridge", "ptp", "loopback", "macvlan", "ipvlan", "vlan", "dummy", "host-device", "tap", "host-local"}

// place is where the module has a plugin.
func place(name string) string {
	if name == "host-local" {
		return filepath.Join("plugins", "ipam", name)
	}
	return filepath.Join("plugins", "main", name)
}

// delegates are the plugins that the suites call for addresses.
var delegates = []string{"ipam/host-local", "ipam/static", "ipam/dhcp"}

func main() {
	only := flag.String("only", strings.Join(suites, ","), "the `plugins` whose suites are run")
	with := flag.String("with", "reference,osl", "whose `side` is run")
	focus := flag.String("focus", "", "run the specs only that match this `expression`")
	list := flag.Bool("list", false, "list the specs that pass with the reference plugin and not with osl-cni")
	verbose := flag.Bool("v", false, "print what the suites print")
	rounds := flag.Int("speed", 0, "measure ADD and DEL of a bridge this `often` instead")
	many := flag.Int("beside", 200, "measure last with this `many` containers there")
	kernel := flag.String("kernel", "", "run them on this `version` of Debian's kernel, in a virtual machine")
	built := flag.String("built", "", "the `directory` of what is built, which is not built then")
	flag.Parse()
	if *kernel != "" {
		if err := inMachine(*kernel, strings.Split(*only, ","), strings.Split(*with, ","), *focus, *list); err != nil {
			fmt.Fprintln(os.Stderr, "cni:", err)
			os.Exit(1)
		}
		return
	}
	if *rounds > 0 {
		work, err := os.Getenv(inside), error(nil)
		if work == "" {
			work, err = workDir()
		}
		if err == nil {
			err = speed(work, *rounds, *many)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "cni:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*built, strings.Split(*only, ","), strings.Split(*with, ","), *focus, *list, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "cni:", err)
		os.Exit(1)
	}
}

// run runs suites with each side, from work where all is built.
func run(work string, only, with []string, focus string, list, verbose bool) error {
	if work == "" {
		var err error
		if work, err = build(only, with); err != nil {
			return err
		}
	}
	fmt.Printf("%-12s", "suite")
	for _, side := range with {
		fmt.Printf(" %16s", side)
	}
	fmt.Println()
	less := false
	for _, name := range only {
		fmt.Printf("%-12s", name)
		var results []report
		for _, side := range with {
			r, err := suite(work, name, side, focus, verbose)
			if err != nil {
				return fmt.Errorf("%s with %s: %w", name, side, err)
			}
			fmt.Printf(" %16s", r)
			results = append(results, r)
		}
		fmt.Println()
		if len(results) == 2 {
			lost := map[string]int{} // without the version
			for text, x := range results[0].specs {
				if y := results[1].specs[text]; x.passed && !y.passed {
					lost[version.ReplaceAllString(text, "")+y.why]++
				}
			}
			less = less || len(lost) > 0
			for _, text := range slices.Sorted(maps.Keys(lost)) {
				if list {
					fmt.Printf("\t%d x %s\n", lost[text], text)
				}
			}
		}
	}
	if less && !list {
		fmt.Println("some pass on one side only; -list says which")
	}
	return nil
}

// workDir returns the directory of what is built, which is kept for the next time.
func workDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "osl-cni-test", strings.ReplaceAll(filepath.Base(module), "@", "-"))
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return "", err
	}
	// osl-cni is built each time.
	build := command("", "go", "build", "-o", filepath.Join(dir, "bin", "osl-cni"), "github.com/seed59451c2b/osl/cmd/osl-cni")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the reference plugins
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build osl-cni: %w", err)
	}
	src, err := source(dir, "reference")
	if err != nil {
		return "", err
	}
	for _, d := range delegates {
		if out := filepath.Join(dir, "bin", filepath.Base(d)); !exists(out) {
			if err := command(src, "go", "build", "-mod=mod", "-o", out, "./plugins/"+d).Run(); err != nil {
				return "", fmt.Errorf("build %s: %w", d, err)
			}
		}
	}
	return dir, nil
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stderr, os.Stderr
	if dir != "" {
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	}
	return cmd
}

// source returns a copy of the plugins' module that can be written to: for osl one in
// which they run osl-cni.
func source(dir, side string) (string, error) {
	src := filepath.Join(dir, side)
	if exists(src) {
		return src, nil
	}
	get := command(os.TempDir(), "go", "mod", "download", "-json", module)
	get.Stdout = nil
	out, err := get.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	for _, f := range []func() error{
		func() error { return os.RemoveAll(src + ".new") },
		func() error { return os.CopyFS(src+".new", os.DirFS(m.Dir)) },
		func() error { return command("", "chmod", "-R", "u+w", src+".new").Run() },
	} {
		if err := f(); err != nil {
			return "", err
		}
	}
	if side == "osl" {
		for _, name := range suites {
			if err := redirect(filepath.Join(src+".new", place(name)), name); err != nil {
				return "", err
			}
		}
	}
	return src, os.Rename(src+".new", src)
}

// build builds suites for each side, and returns the directory.
func build(only, with []string) (work string, err error) {
	if work, err = workDir(); err != nil {
		return "", err
	}
	for _, side := range with {
		src, err := source(work, side)
		if err != nil {
			return "", err
		}
		for _, name := range only {
			out := binary(work, name, side)
			if exists(out) {
				continue
			}
			if err := command(src, "go", "test", "-mod=mod", "-vet=off", "-c", "-o", out, "./"+place(name)).Run(); err != nil {
				return "", fmt.Errorf("build the suite of %s: %w", name, err)
			}
			// Two suites have the go command build the plugin.
			if err := command(src, "go", "build", "-mod=mod", "-o", filepath.Join(work, "bin", side, name), "./"+place(name)).Run(); err != nil {
				return "", fmt.Errorf("build %s: %w", name, err)
			}
		}
	}
	// In the place of the go command, for these. The suite of loopback starts what is built
	// without a PATH, by which a plugin of osl's side finds osl-cni.
	script := `#!/bin/sh
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\nPATH="%s" exec "%s"\n' "$PATH" "$OSL_BUILT/${3##*/}" > "$2"
chmod +x "$2"
`
	return work, os.WriteFile(filepath.Join(work, "bin", "go"), []byte(script), 0o755)
}

// binary is the path of a suite for one side.
func binary(work, name, side string) string { return filepath.Join(work, "bin", name+"-"+side+".test") }

var calls = regexp.MustCompile(`(?m)^func (cmd(?:Add|Del|Check|Status|GC))\(`)

// redirect makes the functions of a plugin run the osl-cni of the path under the
// plugin's name.
func redirect(pkg, name string) error {
	files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s\nconst oslName = %q\n", runner, name)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := calls.ReplaceAllStringFunc(string(b), func(s string) string {
			f := calls.FindStringSubmatch(s)[1]
			text += fmt.Sprintf("\nfunc %s(args *skel.CmdArgs) error { return runOSL(%q, args) }\n", f, strings.ToUpper(strings.TrimPrefix(f, "cmd")))
			return "var _ = reference" + f + "\n\nfunc reference" + f + "("
		})
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(pkg, "redirect.go"), []byte(text), 0o644)
}

// runner is added to a plugin: it runs osl-cni in the namespace of the thread, under
// the plugin's name.
const runner = `package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// envArgs lets the IPAM plugins pass over what is not for them: in the suites they do
// not see it.
func envArgs(s string) string {
	if s == "" {
		return ""
	}
	return "IgnoreUnknown=1;" + s
}

func runOSL(verb string, args *skel.CmdArgs) error {
	cmd := exec.Command("osl-cni")
	cmd.Args = []string{oslName}
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+args.ContainerID, "CNI_NETNS="+args.Netns,
		"CNI_IFNAME="+args.IfName, "CNI_ARGS="+envArgs(args.Args), "CNI_PATH="+os.Getenv("PATH")+":/", "CNI_NETNS_OVERRIDE=1")
	cmd.Stdin = bytes.NewReader(args.StdinData)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		e := &types.Error{}
		if json.Unmarshal(out.Bytes(), e) == nil && e.Msg != "" {
			return e
		}
		return err
	}
	_, err := os.Stdout.Write(out.Bytes())
	return err
}
`

var version = regexp.MustCompile(`\[\d\.\d\.\d\] `)

// varying is what differs from one run to the next in a failure.
var varying = regexp.MustCompile(`0x[0-9a-f]+|cnitest-[-0-9a-f]+|([0-9a-f]{2}:){5}[0-9a-f]{2}`)

// report is what came of a suite.
type report struct {
	passed, ran int
	specs       map[string]spec
}

type spec struct {
	passed bool
	why    string // it failed
}

func (r report) String() string { return fmt.Sprintf("%d/%d", r.passed, r.ran) }

func suite(work, name, side, focus string, verbose bool) (r report, err error) {
	result := filepath.Join(work, name+"-"+side+".json")
	args := []string{"--ginkgo.json-report=" + result, "--ginkgo.no-color"}
	if focus != "" {
		args = append(args, "--ginkgo.focus="+focus)
	}
	cmd := exec.Command("unshare", append([]string{"-mn", "--propagation", "slave", binary(work, name, side)}, args...)...)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(work, "bin")+":"+os.Getenv("PATH"), "OSL_BUILT="+filepath.Join(work, "bin", side))
	if verbose {
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	}
	runErr := cmd.Run()
	b, err := os.ReadFile(result)
	if err != nil {
		return r, cmp.Or(runErr, err)
	}
	_ = os.Remove(result)
	return parse(b)
}

// parse reads ginkgo's report.
func parse(b []byte) (r report, err error) {
	var all []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeText            string
			LeafNodeType            string
			State                   string
			Failure                 struct {
				Message  string
				Location struct{ LineNumber int }
			}
		}
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return r, err
	}
	r.specs = map[string]spec{}
	for _, s := range all {
		for _, x := range s.SpecReports {
			if x.LeafNodeType != "It" || x.State == "skipped" || x.State == "pending" {
				continue
			}
			r.ran++
			if x.State == "passed" {
				r.passed++
			}
			text := strings.Join(append(x.ContainerHierarchyTexts, x.LeafNodeText), " ")
			for _, taken := r.specs[text]; taken; _, taken = r.specs[text] {
				text += " again" // two specs of one name
			}
			r.specs[text] = spec{x.State == "passed",
				fmt.Sprintf(" (line %d: %.200s)", x.Failure.Location.LineNumber, varying.ReplaceAllString(strings.Join(strings.Fields(x.Failure.Message), " "), "…"))}
		}
	}
	return r, nil
}
