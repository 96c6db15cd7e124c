package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// matrixFile is what matrix writes.
const matrixFile = "docs/kernels.md"

const matrixHead = `# What needs which kernel

What osl asks of the kernel beyond what every kernel has, and where the tests of it ran: as root and as another user. Written by the tests, with ` + "`go run ./test/kernel -features write`" + `; what the kernel lacks osl refuses with that reason (` + "`ErrUnsupported`" + `).

- 6.1 and 6.12 are Debian's (bookworm; bookworm-backports, which is that of trixie), in a virtual machine.
- The last column is the machine on which this was written, and on which most tests run: a kernel that is built small.

`

// state is what became of a feature on a kernel, the best last.
type state int

const (
	notTried state = iota
	lacks
	asRoot // and not as another user
	works
	broken
)

func (s state) String() string {
	return [...]string{"not tried", "no", "as root", "yes", "broken"}[s]
}

// featuresOnly runs the tests of features, as root and as another user.
func featuresOnly(dir string, o options) (runs []run, ok bool) {
	if !hasFeatures(dir) {
		return nil, false
	}
	flags := o.flags + " -test.run=^TestFeature"
	return []run{{env: "OSL_PHYSICAL=", command: flags},
		{name: filepath.Base(dir) + userRun, user: 65534, env: "OSL_PHYSICAL=", command: flags}}, true
}

// hasFeatures reports whether a directory has tests of features.
func hasFeatures(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	return slices.ContainsFunc(files, func(f string) bool {
		b, err := os.ReadFile(f)
		return err == nil && bytes.Contains(b, []byte("\nfunc TestFeature"))
	})
}

// asRootOnly is featuresOnly without those of another user.
func asRootOnly(dir string, o options) ([]run, bool) {
	runs, _ := featuresOnly(dir, o)
	runs = slices.DeleteFunc(runs, func(r run) bool { return r.user != 0 })
	return runs, len(runs) > 0
}

// linksOnly runs as root the test that makes each type of link.
func linksOnly(dir string, o options) (runs []run, ok bool) {
	if filepath.Base(dir) != "test" {
		return nil, false
	}
	return []run{{env: "OSL_PHYSICAL=", command: o.flags + " -test.run=^TestFeatureLinks$"}}, true
}

// userRun ends the names of runs that are not root's.
const userRun = "-user"

// newest is the kernel that has most.
var newest = kernels[len(kernels)-1]

// matrix runs the tests of features on all kernels, as root and as another user, and
// writes what came out. Or it checks what is written: as root, with all of them on the
// newest and the types of links on the others, since a machine that is emulated takes
// long; and not on this kernel, on which they run with the other tests.
func matrix(ctx context.Context, o options, what string) error {
	if what != "write" && what != "check" {
		return fmt.Errorf("-features is write or check, not %q", what)
	}
	var columns []map[string]state
	var heads []string
	var failed error
	for _, k := range kernels {
		which := selection(featuresOnly)
		switch {
		case what == "check" && k.version == newest.version:
			which = asRootOnly
		case what == "check":
			which = linksOnly
		}
		o.kernel = k.version
		r, err := test(ctx, o, which)
		if r == nil {
			return err
		}
		if err != nil && what == "check" {
			err = again(ctx, o, which, r)
		}
		failed = errors.Join(failed, err)
		root, user := map[string]state{}, map[string]state{}
		for name, said := range r.said {
			if strings.HasSuffix(name, userRun) {
				found(user, said)
			} else {
				found(root, said)
			}
		}
		for name := range root {
			if root[name] == works && user[name] != works && len(user) > 0 {
				root[name] = max(asRoot, user[name])
			}
		}
		columns, heads = append(columns, root), append(heads, k.version)
	}
	if what == "write" {
		here, err := testHere(ctx, o)
		failed = errors.Join(failed, err)
		release, err := os.ReadFile("/proc/sys/kernel/osrelease")
		if err != nil {
			return err
		}
		short := regexp.MustCompile(`^\d+\.\d+`).FindString(string(release))
		columns, heads = append(columns, here), append(heads, short+", built small")
	}
	table, nowhere := tableOf(columns, heads)
	fmt.Print(table)
	if len(nowhere) > 0 {
		failed = errors.Join(failed, fmt.Errorf("these ran nowhere: %s", strings.Join(nowhere, ", ")))
	}
	if failed != nil {
		return failed
	}
	root, err := output("go", "env", "GOWORK")
	if err != nil {
		return err
	}
	file := filepath.Join(filepath.Dir(root), matrixFile)
	if what == "write" {
		return os.WriteFile(file, []byte(matrixHead+table), 0o644)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return differs(string(written), table)
}

// differs says where a table of a check is not what is written. What was not tried on a
// kernel is no difference, but on the newest.
func differs(written, table string) error {
	var list []string
	for _, k := range kernels {
		was, is := column(written, k.version), column(table, k.version)
		for _, name := range slices.Sorted(maps.Keys(was)) {
			if _, tried := is[name]; !tried && k.version == newest.version {
				is[name] = notTried.String()
			}
		}
		for _, name := range slices.Sorted(maps.Keys(is)) {
			if is[name] != was[name] && (k.version == newest.version || is[name] != notTried.String()) {
				list = append(list, fmt.Sprintf("%s on %s: it has %q, and they say %q", name, k.version, was[name], is[name]))
			}
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("%s is not what the tests say: go run ./test/kernel -features write\n%s", matrixFile, strings.Join(list, "\n"))
	}
	return nil
}

// again runs what failed a second time, in a machine of its own: in one that is emulated
// WireGuard has been seen to answer nobody from one boot to the next. What fails twice fails.
func again(ctx context.Context, o options, which selection, r *report) (failed error) {
	for _, what := range r.failed {
		name, _, _ := strings.Cut(what, ":")
		if _, is := r.said[name]; !is {
			return fmt.Errorf("failed: %s", what)
		}
		fmt.Printf("%s, at the first time\n", what)
		o.only = name
		second, err := test(ctx, o, which)
		if second == nil {
			return err
		}
		failed = errors.Join(failed, err)
		r.said[name] = second.said[name]
	}
	return failed
}

// column is what a table says of a kernel, by features. A check is as root.
func column(table, kernel string) map[string]string {
	said := map[string]string{}
	at := -1
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) < 4:
		case at < 0:
			at = slices.Index(cells, kernel)
		case !strings.HasPrefix(cells[1], "---"):
			said[cells[1]] = strings.Replace(cells[at], asRoot.String(), works.String(), 1)
		}
	}
	return said
}

// testHere runs the tests of features on this kernel.
func testHere(ctx context.Context, o options) (map[string]state, error) {
	work, err := os.MkdirTemp("", "osl-features-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	runs, err := build(work, o, featuresOnly)
	if err != nil {
		return nil, err
	}
	states := map[string]state{}
	var failed error
	for _, r := range runs {
		if r.user != 0 {
			continue
		}
		cmd := exec.CommandContext(ctx, r.binary, append([]string{"-test.v=test2json", "-test.run=^TestFeature"}, strings.Fields(o.flags)...)...)
		cmd.Dir = r.source
		out, err := cmd.CombinedOutput()
		found(states, out)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s on this kernel: %w\n%s", r.name, err, out))
		}
	}
	return states, failed
}

var feature = regexp.MustCompile("(" + testnet.FeatureWorks + "|" + testnet.FeatureLacks + "|" + testnet.FeatureBroken + `)([^:\n\r]+)`)

// found reads what tests said of features. What one test can not try another may.
func found(states map[string]state, said []byte) {
	to := map[string]state{testnet.FeatureWorks: works, testnet.FeatureLacks: lacks, testnet.FeatureBroken: broken}
	for _, m := range feature.FindAllSubmatch(said, -1) {
		name := string(m[2])
		states[name] = max(states[name], to[string(m[1])])
	}
}

// tableOf returns the table of the features, and those that ran nowhere.
func tableOf(columns []map[string]state, heads []string) (table string, nowhere []string) {
	names := map[string]bool{}
	for _, c := range columns {
		for name := range c {
			names[name] = true
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| feature | %s |\n|---%s|\n", strings.Join(heads, " | "), strings.Repeat("|---", len(heads)))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "| %s |", name)
		ran := false
		for _, c := range columns {
			fmt.Fprintf(&b, " %v |", c[name])
			ran = ran || c[name] == works || c[name] == asRoot
		}
		b.WriteString("\n")
		if !ran {
			nowhere = append(nowhere, name)
		}
	}
	return b.String(), nowhere
}
