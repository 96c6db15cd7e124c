package testnet

import (
	"os"
	"os/exec"
	"testing"
)

// NeedProgram returns the path of a program that a test starts, of a package of Debian's.
// Where it is not there the test is skipped, or fails with OSLTEST_REQUIRE=1, as it does
// in .ci/run: there nothing is left out unseen.
func NeedProgram(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("OSLTEST_REQUIRE") == "1":
		t.Fatalf("%s is not here (of Debian's %s), and OSLTEST_REQUIRE=1", name, pkg)
	default:
		t.Skipf("%s is not here (of Debian's %s)", name, pkg)
	}
	return path
}
