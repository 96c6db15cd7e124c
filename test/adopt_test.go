package osltest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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

// A namespace is adopted at several keys, which are destroyed at once, and adopted at
// another meanwhile: with the last key goes what osl put in, whichever that is.
func TestAdoptedKeysEndAtOnce(t *testing.T) {
	w := begin(t)
	bare := exec.Command("sleep", "1000") // of nobody's key
	bare.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	must(t, bare.Start())
	defer func() { _ = bare.Process.Kill(); _ = bare.Wait() }()
	src, _ := w.vethUp()
	at := fmt.Sprintf("/proc/%d/ns/net", bare.Process.Pid)
	for i := range 40 {
		var keys []osl.Sandbox
		for range 2 {
			sb, err := osl.GetSandboxForExternalKey(at, newKey())
			must(t, err)
			keys = append(keys, sb)
		}
		must(t, keys[0].AddInterface(src, "eth", addresses("10.9.0.1/24", "fd09::1/64")))
		var wg sync.WaitGroup
		for _, sb := range keys {
			wg.Go(func() {
				if err := sb.Destroy(); err != nil {
					t.Error(err)
				}
			})
		}
		if i%2 == 1 {
			wg.Go(func() {
				sb, err := osl.GetSandboxForExternalKey(at, newKey())
				if err == nil {
					err = sb.Destroy()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if linkOf(t, "", src) == nil {
			t.Fatal("the link of the host is left in the namespace, which has no key any more")
		}
		out, err := exec.Command("nsenter", "--net="+at, "ip", "-d", "link").CombinedOutput()
		if must(t, err); strings.Contains(string(out), "osl1") || strings.Count(string(out), "link/") != 1 {
			t.Fatalf("what osl put in is left:\n%s", out)
		}
	}
}
