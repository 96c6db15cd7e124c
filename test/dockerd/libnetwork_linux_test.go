package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apart are the tests of libnetwork that are not compared.
var apart = map[string]string{
	"bridge/TestCreateParallel": "it is a matter of luck with docker's package too",
}

// A test of libnetwork makes a network namespace and takes it for the host's, which docker
// can be told in the middle of a process. To osl the host is where it was used first: so
// each test has a process of its own, but for those that look for what TestHost makes.
const together = `Test(Host|ResolvConfHost|Parallel\d)`

// alone has a test run in namespaces and directories of its own: what a test leaves is
// nobody's. What it reads beside its source it gets.
const alone = `
set -e
for d in /run /tmp /var/lib/docker; do mkdir -p $d; mount -t tmpfs -o mode=755 new $d; done
ip link set lo up
ip link add eth0 type veth peer name eth1
ip addr add 10.255.255.2/24 dev eth0
cd /tmp
[ ! -d "$1/testdata" ] || cp -r "$1/testdata" .
shift
exec "$@"`

// TestLibnetwork runs the tests of docker's libnetwork with its own package and with osl:
// what passes with the one passes with the other.
func TestLibnetwork(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, v.testLibnetwork)
	}
}

func (v *version) testLibnetwork(t *testing.T) {
	dirs := v.need(t)
	passed := map[string]int{}
	for _, suite := range v.suites {
		source := filepath.Join(dirs["docker"], "src", v.net, suite)
		suite := filepath.Base(source)
		for _, name := range tests(t, dirs["docker"], suite) {
			t.Run(suite+"/"+name, func(t *testing.T) {
				if why := apart[suite+"/"+name]; why != "" {
					t.Skip(why)
				}
				theirs, why := passes(t, dirs["docker"], source, suite, name)
				passed["docker"] += len(theirs)
				ours, but := passes(t, dirs["osl"], source, suite, name)
				passed["osl"] += len(ours)
				for test := range theirs {
					if !ours[test] {
						t.Errorf("%s passes with docker's package and not with osl:\n%s", test, but)
					}
				}
				if len(theirs) == 0 {
					t.Skipf("does not pass with docker's package:\n%s", why)
				}
			})
		}
	}
	t.Logf("tests that pass: %d with docker's package, %d with osl", passed["docker"], passed["osl"])
}

var grouped = regexp.MustCompile("^" + together + "$")

// tests lists the tests of a suite, each as an expression.
func tests(t *testing.T, dir, suite string) (list []string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(dir, suite+".test"), "-test.list", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		if !grouped.MatchString(name) {
			list = append(list, name)
		} else if !slices.Contains(list, together) {
			list = append(list, together)
		}
	}
	return list
}

var result = regexp.MustCompile(`(?m)^--- PASS: (\S+)`)

// passes runs tests of a suite of the side that is in dir, and returns those that pass, and what they say.
func passes(t *testing.T, dir, source, suite, name string) (passed map[string]bool, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", alone, "sh", source, filepath.Join(dir, suite+".test"), "-test.v", "-test.parallel", "3", "-test.run", "^"+name+"$")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.SysProcAttr, cmd.WaitDelay = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, time.Second
	out, _ := cmd.CombinedOutput() // which tests passed, it says
	passed = map[string]bool{}
	for _, x := range result.FindAllSubmatch(out, -1) {
		passed[string(x[1])] = true
	}
	return passed, string(out)
}
