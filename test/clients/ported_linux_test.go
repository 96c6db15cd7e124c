package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	_ "github.com/google/nftables" // whose sources are tried
	_ "github.com/vishvananda/netlink"
)

// Two projects whose tests lock threads and need root: their own functions that make a
// namespace for a test are replaced by these lines, and the tests run as they are, and
// without root.
func TestPorted(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles two other projects")
	}
	t.Parallel()
	const up = `
	n := osltest.Up(t, osl.Network{Sandboxes: []osl.Spec{{Name: "test"}}})
`
	for _, p := range []struct {
		module, dir, file string
		old, fresh        string // functions, and what stands for them
		main              string // a TestMain, where there is none
		args              []string
	}{
		{
			module: "github.com/vishvananda/netlink", file: "netlink_test.go",
			old: `(?s)func setUpNetlinkTest\(t testing.TB\) tearDownNetlinkTest \{.*?\n\}\n`,
			fresh: `func setUpNetlinkTest(t testing.TB) tearDownNetlinkTest {` + up + `
	leave, err := n.Sandbox("test").Enter()
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = leave() }
}
`,
			args: []string{"-test.run", "^(TestLinkAddDel(Bridge|Veth)|TestLinkSetAlias|TestLinkByName.*|TestRouteAddDel|TestRouteReplace|TestRouteAppend)$"},
		},
		{
			module: "github.com/google/nftables", dir: "internal/nftest", file: "internal/nftest/system_conn.go",
			old: `(?s)	// We lock the goroutine.*func CleanupSystemConn.*\n\}\n`,
			fresh: up + `
	f, err := n.Sandbox("test").File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c, err := nftables.New(nftables.WithNetNSFd(int(f.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	return c, netns.NsHandle(f.Fd())
}

func CleanupSystemConn(*testing.T, netns.NsHandle) {}
`,
			main: "nftables_test",
			args: []string{"-test.run", "^(TestAddChain|TestAddSet.*|TestCt.*|TestListChainByName|TestConfigureNAT)$", "-run_system_tests"},
		},
	} {
		t.Run(filepath.Base(p.module), func(t *testing.T) {
			source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", p.module).Output()
			if err != nil {
				t.Skipf("the go command, and the module's source, are needed: %v", err)
			}
			here, err := filepath.Abs("../..")
			if err != nil {
				t.Fatal(err)
			}
			top, err := os.MkdirTemp("", "port") // which others can read
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(top)
			if err := os.Chmod(top, 0o755); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(top, "port")
			asNobody := false
			run := func(name string, args ...string) string {
				t.Helper()
				c := exec.Command(name, args...)
				c.Dir = dir
				c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GONOSUMDB=*", "OSLTEST_INSIDE=", "OSLTEST_REQUIRE=1")
				if asNobody {
					c.Env = append(c.Env, "TMPDIR=/tmp", "HOME=/")
					c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
				}
				out, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%s %v: %v\n%s", name, args, err, out)
				}
				return string(out)
			}
			if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(source)))); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, p.file)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			old := regexp.MustCompile(p.old)
			if !old.Match(text) {
				t.Fatalf("%s is not what it was", p.file)
			}
			ported := string(old.ReplaceAllLiteral(text, []byte(p.fresh)))
			ported = strings.Replace(ported, "import (", "import (\n\t\"github.com/seed59451c2b/osl\"\n\t\"github.com/seed59451c2b/osl/osltest\"\n", 1)
			if !strings.Contains(ported, "runtime.") {
				ported = strings.Replace(ported, "\t\"runtime\"\n", "", 1)
			}
			if !strings.Contains(ported, "func TestMain") && p.main == "" {
				p.main = "netlink"
			}
			ported = strings.Replace(ported, "os.Exit(m.Run())", "osltest.Main(m)", 1)
			if err := os.WriteFile(file, []byte(ported), 0o644); err != nil {
				t.Fatal(err)
			}
			if p.main != "" {
				main := "package " + p.main + "\n\nimport (\n\t\"testing\"\n\n\t\"github.com/seed59451c2b/osl/osltest\"\n)\n\nfunc TestMain(m *testing.M) { osltest.Main(m) }\n"
				if err := os.WriteFile(filepath.Join(dir, "osltest_test.go"), []byte(main), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			run("go", "mod", "edit", "-go=1.26.0", "-require=github.com/seed59451c2b/osl@v0.0.0", "-replace=github.com/seed59451c2b/osl="+here)
			run("go", "test", "-c", "-o", "port.test", ".")
			asNobody = os.Getuid() == 0 && realRoot()
			out := run("./port.test", append(p.args, "-test.v")...)
			if n := strings.Count(out, "--- PASS"); n < 5 || strings.Contains(out, "--- FAIL") {
				t.Errorf("%d tests passed:\n%s", n, out)
			}
			t.Log(regexp.MustCompile(`(?m)^--- .*\n`).FindAllString(out, -1))
		})
	}
}

// realRoot reports whether root here is the machine's.
func realRoot() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}
