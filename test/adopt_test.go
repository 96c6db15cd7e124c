package osltest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed59451c2b/osl"
)

// Who adopts a namespace finds in any process whose it is, and where it was found.
func TestAdopt(t *testing.T) {
	ctx := t.Context()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	at := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	owner := "runtime 0123456789 /bundles/web with a blank; and a ;"
	for name, owner := range map[string]string{"adopted-none": "", "adopted-owned": owner} {
		n, err := osl.Adopt(ctx, at, name, owner)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if _, err := osl.Adopt(ctx, at, name, owner); !errors.Is(err, osl.ErrExists) {
			t.Errorf("again: %v", err)
		}
		other, err := osl.Open(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		st, err := other.Inspect(ctx)
		if err != nil || st.From != at || st.Owner != owner || st.Made {
			t.Errorf("%s: %v, %+v", name, err, st)
		}
		other.Close()
		if err := n.Destroy(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(osl.BasePath(), "netns", name)); err == nil {
			t.Errorf("the key of %s is there still", name)
		}
	}
	for _, want := range []struct {
		options []osl.AdoptOption
		lo      string
	}{{nil, "off"}, {[]osl.AdoptOption{osl.WithoutDefaults()}, "auto"}} {
		n, err := osl.Adopt(ctx, at, "adopted-with", "", want.options...)
		if err != nil {
			t.Fatal(err)
		}
		if lo, err := n.Interface(ctx, "lo"); err != nil || !lo.Up || lo.IPv6 != want.lo {
			t.Errorf("%d options: %v, lo %+v", len(want.options), err, lo)
		}
		if err := n.Destroy(); err != nil {
			t.Error(err)
		}
	}
	var long strings.Builder // of what no packing makes shorter
	for range 1000 {
		long.WriteString(rand.Text())
	}
	if _, err := osl.Adopt(ctx, at, "adopted-long", long.String()); !errors.Is(err, osl.ErrInvalid) {
		t.Errorf("a long owner: %v", err)
	}
	made, err := osl.Create(ctx, "adopted-not")
	if err != nil {
		t.Fatal(err)
	}
	defer made.Destroy()
	if st, err := made.Inspect(ctx); err != nil || st.From != "" || st.Owner != "" {
		t.Errorf("one that osl made: %v, %+v", err, st)
	}
}
