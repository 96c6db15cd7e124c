package osl_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// layers are the packages of the house, from the ground up. An import goes down.
var layers = [][]string{
	{"internal/loopback"},
	{"types", "internal/linux", "internal/near", "internal/where", "internal/netns", "internal/testnet", "internal/testmachine", "internal/wgkey"},
	{"internal/sysctl", "internal/fault", "internal/rtnl"},
	{"internal/shell", "internal/netlink", "internal/inside"},
	{"internal/plan"},
	{"internal/want"},
	{"internal/base", "internal/stand"},
	{"internal/engine"},
	{""},
	{"internal/check", "internal/netfile", "internal/rootless"},
	{"internal/schema", "internal/oci", "docs", "oslfile"},
	{"internal/schema/gen", "internal/cli", "osltest"},
	{"cmd/osl", "cmd/osl-cni", "examples/frr", "examples/runtime"},
}

// systemic are the packages that ask the system; the others are the same on every
// one.
var systemic = []string{"internal/loopback", "internal/netns", "internal/testnet", "internal/sysctl", "internal/netlink", "internal/base", "internal/engine",
	"internal/check", "internal/rootless", "internal/inside", "cmd/osl-cni", "osltest"}

// kernel are the packages of whose values a caller sees nothing.
var kernel = []string{"internal/plan", "internal/rtnl", "internal/linux", "internal/netlink", "internal/netns", "internal/sysctl"}

type listed struct {
	ImportPath                                 string
	Imports, GoFiles, IgnoredGoFiles, CgoFiles []string
}

func packages(t *testing.T, goos string, patterns ...string) (list []listed) {
	t.Helper()
	cmd := exec.Command(testnet.NeedProgram(t, "go", "golang-go"), append([]string{"list", "-json=ImportPath,Imports,GoFiles,IgnoredGoFiles,CgoFiles"}, patterns...)...)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return list
}

const module = "github.com/seed59451c2b/osl"

func layerOf(path string) int {
	short := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, short) })
}

// The root uses the engine, the engine the plan, the plan values; nothing goes
// upwards.
func TestArrowsGoDown(t *testing.T) {
	for _, p := range packages(t, "linux", "./...") {
		at := layerOf(p.ImportPath)
		if at < 0 {
			t.Errorf("%s is in no layer", p.ImportPath)
		}
		for _, i := range p.Imports {
			if (i == module || strings.HasPrefix(i, module+"/")) && layerOf(i) >= at {
				t.Errorf("%s uses %s, which is not below it", p.ImportPath, i)
			}
			short := strings.TrimPrefix(p.ImportPath, module+"/")
			if (i == "golang.org/x/sys/unix" || i == "unsafe") && !slices.Contains(systemic, short) {
				t.Errorf("%s uses %s", p.ImportPath, i)
			}
			if p.ImportPath == module && slices.Contains(kernel, strings.TrimPrefix(i, module+"/")) {
				t.Errorf("the root uses %s: what is of plans and of the kernel is below want and stand", i)
			}
		}
	}
}

// The table of the house has each package once, those above before those below, and says
// which ask the system.
func TestTableOfTheHouse(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| asks the system |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	at, told := len(layers), map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		for _, quoted := range strings.Split(cells[1], ", ") {
			p := strings.Trim(quoted, " `")
			if strings.Contains(p, "---") {
				continue
			}
			short := strings.TrimPrefix(p, ".")
			layer := layerOf(short)
			if layer < 0 || layer > at || told[short] {
				t.Errorf("the row of %s: it is no package, has one twice, or is below a lower one", p)
				continue
			}
			at, told[short] = layer, true
			if want := map[bool]string{true: "yes", false: "no"}[slices.Contains(systemic, short)]; strings.TrimSpace(cells[3]) != want {
				t.Errorf("the row of %s: it asks the system: %s", p, want)
			}
		}
	}
	for _, p := range slices.Concat(layers...) {
		if !told[p] && !strings.HasPrefix(p, "examples/") {
			t.Errorf("the table does not have %s", p)
		}
	}
}

// What is above and below the packages that ask the system is the same everywhere,
// and the root is a few files.
func TestSameOnEverySystem(t *testing.T) {
	for _, p := range packages(t, "linux", ".", "./internal/stand", "./internal/want", "./internal/plan", "./internal/rtnl", "./internal/fault", "./internal/linux") {
		ignored := slices.DeleteFunc(p.IgnoredGoFiles, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if len(ignored) > 0 || len(p.CgoFiles) > 0 {
			t.Errorf("%s leaves %v out on Linux", p.ImportPath, ignored)
		}
		if p.ImportPath == module && len(p.GoFiles) > 12 {
			t.Errorf("the root has %d files", len(p.GoFiles))
		}
		there := packages(t, "windows", p.ImportPath)[0].GoFiles
		if !slices.Equal(p.GoFiles, there) {
			t.Errorf("%s is %v on Linux, and %v on another system", p.ImportPath, p.GoFiles, there)
		}
	}
	if files, _ := filepath.Glob("*_linux.go"); len(files) > 0 {
		t.Errorf("the root has %v", files)
	}
}

// The page that leads a reader into each of the two large packages leaves no file out.
func TestDocNamesEachFile(t *testing.T) {
	for _, dir := range []string{"internal/plan", "internal/engine"} {
		text, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil {
			t.Fatal(err)
		}
		var there []string
		files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, f := range files {
			if f = filepath.Base(f); f != "doc.go" && !strings.HasSuffix(f, "_test.go") {
				there = append(there, f)
			}
		}
		for _, f := range there {
			if !slices.Contains(strings.Fields(string(text)), f) {
				t.Errorf("%s/doc.go does not name %s", dir, f)
			}
		}
		for _, f := range strings.Fields(string(text)) {
			if strings.HasSuffix(f, ".go") && !slices.Contains(there, f) {
				t.Errorf("%s/doc.go names %s, which is not there", dir, f)
			}
		}
	}
}
