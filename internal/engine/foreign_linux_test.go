package engine_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/types"
)

// upVeth is one whose other end has its addresses already.
const upVeth = plainVeth + "link set va up\n"

// world is an empty host for a test.
func world(t *testing.T, host string) *faultWorld {
	t.Helper()
	w := &faultWorld{t: t, op: faultOp{host: host}}
	t.Cleanup(w.clear)
	w.build()
	return w
}

// otherMounts returns a process with a mount namespace of its own that was made
// now, with what the host has now and nothing that comes later.
func otherMounts(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "echo; exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// A key whose namespace another mount namespace has is a plain file here, and is
// left alone by every call.
func TestKeyThatIsMountedElsewhere(t *testing.T) {
	w := world(t, "")
	ctx := t.Context()
	dir, err := osl.KeyPath("a b") // with a space, which mountinfo escapes
	w.must(err)
	w.make("a b")
	pid := otherMounts(t) // which has it
	// Here it is gone, without osl.
	w.must(unix.Unmount(dir, unix.MNT_DETACH))
	there := func() bool {
		return exec.Command("nsenter", "-t", strconv.Itoa(pid), "-m", "nsenter", "--net="+dir, "true").Run() == nil
	}
	everyCallLeavesIt(w, dir, "nsenter -t "+strconv.Itoa(pid), there)
	if err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-m", "umount", dir).Run(); err != nil {
		t.Fatal(err)
	}
	w.must(osl.Recover(ctx, "a b")) // now it is dead
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the dead key is there still")
	}
}

// So is one that this mount namespace has at another path, to which the directory was
// bound, as to a directory for a chroot.
func TestKeyThatIsMountedAtAnotherPath(t *testing.T) {
	w := world(t, "")
	dir, err := osl.KeyPath("a b")
	w.must(err)
	w.make("a b")
	root := t.TempDir()
	w.must(unix.Mount(filepath.Dir(dir), root, "", unix.MS_BIND|unix.MS_REC, ""))
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	w.must(unix.Mount("", root, "", unix.MS_REC|unix.MS_PRIVATE, ""))
	w.must(unix.Unmount(dir, unix.MNT_DETACH))
	at := filepath.Join(root, "a b")
	everyCallLeavesIt(w, dir, at, func() bool { return exec.Command("nsenter", "--net="+at, "true").Run() == nil })
	n, err := osl.Open(t.Context(), at)
	w.must(err)
	w.must(n.Close())
	w.must(unix.Unmount(at, unix.MNT_DETACH))
	w.must(osl.Recover(t.Context(), "a b")) // now it is dead
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the dead key is there still")
	}
}

// everyCallLeavesIt tries each on the sandbox "a b", which is there for somebody else, and
// has to be afterwards.
func everyCallLeavesIt(w *faultWorld, dir, hint string, there func() bool) {
	t, ctx := w.t, w.t.Context()
	if !there() {
		t.Fatal("it is not there")
	}
	p := osl.NewPool(0)
	defer p.Close()
	w.foreign("x")
	net1 := osl.Network{Sandboxes: []osl.Spec{{Name: "a b"}}}
	for what, call := range map[string]func() error{
		"Create":                   func() error { _, err := osl.Create(ctx, "a b"); return err },
		"Pool.Create":              func() error { _, err := p.Create(ctx, "a b"); return err },
		"NewSandbox":               func() error { _, err := osl.NewSandbox(dir, true, false); return err },
		"NewSandbox of the host":   func() error { _, err := osl.NewSandbox(dir, false, false); return err },
		"NewSandbox, restore":      func() error { _, err := osl.NewSandbox(dir, true, true); return err },
		"GetSandboxForExternalKey": func() error { _, err := osl.GetSandboxForExternalKey("x", dir); return err },
		"Open":                     func() error { _, err := osl.Open(ctx, "a b"); return err },
		"Recover":                  func() error { return osl.Recover(ctx, "a b") },
		"Remove":                   func() error { return osl.Remove(ctx, "a b", osl.WithForce()) },
		"Apply":                    func() error { _, err := osl.Apply(ctx, net1); return err },
		"Diff":                     func() error { _, err := osl.Diff(ctx, net1); return err },
		"Down":                     func() error { _, err := osl.Down(ctx, net1, osl.WithForce()); return err },
		"GC":                       func() error { osl.GC(); return osl.ErrElsewhere },
	} {
		err := call()
		if !errors.Is(err, osl.ErrElsewhere) {
			t.Errorf("%s: %v", what, err)
		}
		var e *osl.Error
		if errors.As(err, &e) && !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: the hint is %q", what, e.Hint)
		}
		if !there() {
			t.Fatalf("%s ended it for the other", what)
		}
	}
	list, err := osl.List(ctx)
	if err != nil || len(list) != 2 || !strings.HasPrefix(list[0].Problem, "not a network namespace in this mount namespace: ") {
		t.Errorf("List: %+v, %v", list, err)
	}
}

// What osl put into a namespace of another is taken out of it, and nothing else;
// the key goes by force only.
func TestNamespaceOfAnother(t *testing.T) {
	for name, remove := range map[string]func() error{
		"Remove": func() error { return osl.Remove(context.Background(), "a") },
		"Down": func() error {
			_, err := osl.Down(context.Background(), osl.Network{Sandboxes: []osl.Spec{{Name: "a"}}})
			return err
		},
		"Destroy": func() error {
			n, err := osl.Open(context.Background(), "a")
			if err != nil {
				return err
			}
			return n.Destroy()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, upVeth)
			w.foreign("a")
			w.ip("-n", "a", "addr", "add", "10.77.0.1/24", "dev", "mine")
			before := w.still()
			n, err := osl.Open(t.Context(), "a")
			w.must(err)
			w.a, w.open = n, append(w.open, n)
			o := n.InterfaceOptions()
			w.must(n.AddInterface("va", "eth", o.Address(cidr("10.2.0.1/24"))))
			w.must(n.AddInterface("br", "br", o.Bridge(true)))
			w.must(n.AddInterface("mine", "own", osl.WithLinkInside(), o.Address(cidr("10.5.0.1/24")), o.AddressIPv6(cidr("2001:db8:5::1/64")), osl.WithMTU(1400)))
			w.must(n.AddAliasIP("mine", cidr("10.9.9.9/32"))) // by its source name
			w.must(n.AddStaticRoute(nextHop))
			w.must(remove())
			same := func(p picture) bool { return diff(bare(before), bare(p)) == "" }
			if p := w.settled(same); !same(p) {
				t.Errorf("it is not as before:\n%s", diff(bare(before), bare(p)))
			}
			if _, err := osl.NewSandbox(n.Key(), true, false); !errors.Is(err, osl.ErrExists) {
				t.Errorf("a new one over it: %v", err)
			}
			w.must(osl.Remove(t.Context(), "a", osl.WithForce()))
			if err := osl.Remove(t.Context(), "a"); !errors.Is(err, osl.ErrNotFound) {
				t.Errorf("it was to go by force: %v", err)
			}
		})
	}
}

// An adopted namespace loses the key that osl gave it, and what osl put in.
func TestAdoptedNamespace(t *testing.T) {
	w := world(t, upVeth)
	w.foreign("x")
	before := w.still()
	for range 2 {
		sb, err := w.keep(osl.GetSandboxForExternalKey("x", "y"))
		w.must(err)
		off := ""
		w.must(sb.InvokeFunc(func() { off = read(t, "/proc/sys/net/ipv6/conf/default/disable_ipv6") }))
		if off != "1" && !engine.NoIPv6() {
			t.Errorf("conf/default/disable_ipv6 is %s", off)
		}
		w.must(sb.AddInterface("va", "eth", sb.InterfaceOptions().AddressIPv6(cidr("2001:db8::1/64"))))
		// Another process ends it.
		if err := osl.Remove(t.Context(), "y"); err != nil {
			t.Fatal(err)
		}
		same := func(p picture) bool { return diff(bare(before), bare(p)) == "" }
		if p := w.settled(same); !same(p) {
			t.Errorf("it is not as before:\n%s", diff(bare(before), bare(p)))
		}
		n, err := osl.Open(t.Context(), "x")
		w.must(err)
		n.Close()
	}
}

// A sandbox of osl's that has a second key keeps what is in it when that goes.
func TestSandboxWithASecondKey(t *testing.T) {
	w := world(t, plainVeth)
	a := w.make("a")
	w.must(a.AddInterface("va", "eth"))
	before := w.still()
	second, err := w.keep(osl.GetSandboxForExternalKey("a", "b"))
	w.must(err)
	w.must(second.Destroy())
	if p := w.still(); diff(before.kernel, p.kernel) != "" {
		t.Errorf("it is not as before:\n%s", diff(before.kernel, p.kernel))
	}
	// The first key may go first; then the other is the sandbox.
	second, err = w.keep(osl.GetSandboxForExternalKey("a", "b"))
	w.must(err)
	w.must(osl.Remove(t.Context(), "a"))
	if l, err := onTheHost("va"); err != nil || l.Index != 41 {
		t.Errorf("va is not home: %+v, %v", l, err)
	}
	w.must(second.AddInterface("va", "eth"))
	w.must(osl.Remove(t.Context(), "b"))
	if l, err := onTheHost("va"); err != nil || l.Index != 41 {
		t.Errorf("va is not home: %+v, %v", l, err)
	}
}

// A namespace in which IPv6 is in use keeps it.
func TestAdoptedNamespaceThatUsesIPv6(t *testing.T) {
	if engine.NoIPv6() {
		t.Skip("the kernel has no IPv6")
	}
	w := world(t, "")
	w.foreign("x")
	w.ip("-n", "x", "addr", "add", "2001:db8::7/64", "dev", "mine", "nodad")
	sb, err := w.keep(osl.GetSandboxForExternalKey("x", "y"))
	w.must(err)
	w.must(sb.InvokeFunc(func() {
		if v := read(t, "/proc/sys/net/ipv6/conf/default/disable_ipv6"); v != "0" {
			t.Errorf("conf/default/disable_ipv6 is %s", v)
		}
	}))
}

// bare is a picture without the settings of the link mine, and what va loses on the
// way.
func bare(p picture) (list []string) {
	for _, l := range p.kernel {
		at := strings.Index(l, " conf ")
		switch {
		case strings.Contains(l, "link mine ") && at > 0:
			l = l[:at]
		case strings.HasPrefix(l, "host: address"), strings.HasPrefix(l, "host: route"):
			continue
		}
		list = append(list, l)
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(b))
}

// The host's namespace at a key is the host sandbox, whoever pinned it.
func TestKeyOfTheHost(t *testing.T) {
	w := world(t, plainVeth)
	w.ip("link", "set", "va", "up")
	w.ip("addr", "add", "2001:db8:9::1/64", "dev", "va", "nodad")
	ctx := t.Context()
	before := w.still()
	sb, err := w.keep(osl.NewSandbox("default", false, false))
	w.must(err)
	if !netns.At(sb.Key(), netns.HomeID()) {
		t.Fatal("the host's namespace is not at the key")
	}
	// After a restart.
	_, err = w.keep(osl.NewSandbox("default", false, false))
	w.must(err)
	again, err := w.keep(osl.NewSandbox("default", false, true))
	w.must(err)
	w.must(again.AddInterface("va", "eth", again.InterfaceOptions().Address(cidr("10.2.0.1/24"))))
	n, err := osl.Open(ctx, "default")
	w.must(err)
	w.open = append(w.open, n)
	if l, err := onTheHost("va"); err != nil || l.Index != 41 || l.Name != "va" {
		t.Errorf("va has moved, or another name: %+v, %v", l, err)
	}
	st, err := n.Inspect(ctx)
	if err != nil || len(st.Interfaces) < 2 {
		t.Errorf("Inspect: %+v, %v", st, err)
	}
	if _, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "default", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Source: "va"}}}}}); !errors.Is(err, osl.ErrInvalid) {
		t.Errorf("Apply: %v", err)
	}
	w.must(osl.Recover(ctx, "default"))
	w.must(osl.Remove(ctx, "default"))
	if p := w.still(); diff(before.kernel, p.kernel) != "" {
		t.Errorf("the host is not as before:\n%s", diff(before.kernel, p.kernel))
	}
}

// Of an adoption whose process died before it was complete nothing stays.
func TestInterruptedAdoption(t *testing.T) {
	w := world(t, "")
	w.foreign("x")
	before := w.still()
	x, err := osl.Open(t.Context(), "x")
	w.must(err)
	defer x.Close()
	was, other := "0", "1" // a new namespace has the machine's
	w.must(x.Do(t.Context(), func(context.Context) error {
		const path = "/proc/sys/net/ipv4/ip_forward"
		b, err := os.ReadFile(path)
		if err == nil && b[0] == '1' {
			was, other = other, was
		}
		return errors.Join(err, os.WriteFile(path, []byte(other), 0))
	}))
	rec := plan.Record{Role: plan.Undo, ID: "7", Steps: []plan.Step{{Path: "ipv4/ip_forward", Value: was}, {Unpin: filepath.Join(filepath.Dir(x.Key()), "y")}}}
	w.must(connOf(t, x).One(t.Context(), plan.NewAltName{Index: 1, Names: rec.Fit()}.Request(nil)))
	fd, err := connOf(t, x).NSFD()
	w.must(err)
	w.must(netns.Pin(fd, rec.UnpinKeys()[0]))
	unix.Close(fd)
	w.must(osl.Recover(t.Context(), "y"))
	if p := w.still(); diff(before.kernel, p.kernel) != "" {
		t.Errorf("it is not as before:\n%s", diff(before.kernel, p.kernel))
	}
}

// No call leaves the caller's thread anywhere else, whatever it returns.
func TestThreadStaysWhereItIs(t *testing.T) {
	w := world(t, "")
	w.foreign("x")
	a := w.make("a")
	fail := func(err error) {
		if err != nil {
			t.Error(err)
			runtime.Goexit()
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and it ends with the goroutine
		key, _ := osl.KeyPath("x")
		fd, _, err := netns.Open(key)
		fail(err)
		defer unix.Close(fd)
		if unix.Gettid() == unix.Getpid() {
			return // the first thread is left alone
		}
		fail(unix.Setns(fd, unix.CLONE_NEWNET))
		ns := func() string { s, _ := os.Readlink("/proc/thread-self/ns/net"); return s }
		here := ns()
		bad := &types.StaticRoute{Destination: destination("10.0.0.0/8"), NextHop: net.ParseIP("192.0.2.1")}
		for what, call := range map[string]func() error{
			"AddInterface":     func() error { return a.AddInterface("nothing", "eth") },
			"SetGateway":       func() error { return a.SetGateway(net.ParseIP("192.0.2.1")) },
			"SetGatewayIPv6":   func() error { return a.SetGatewayIPv6(net.ParseIP("2001:db8::1")) },
			"AddAliasIP":       func() error { return a.AddAliasIP("nothing", cidr("10.0.0.1/32")) },
			"RemoveAliasIP":    func() error { return a.RemoveAliasIP("nothing", cidr("10.0.0.1/32")) },
			"DisableARPForVIP": func() error { return a.DisableARPForVIP("nothing") },
			"AddStaticRoute":   func() error { return a.AddStaticRoute(bad) },
			"AddNeighbor": func() error {
				return a.AddNeighbor(net.ParseIP("192.0.2.1"), hw(1), false, setters.LinkName("nothing"))
			},
			"InvokeFunc": func() error { return a.InvokeFunc(nil) },
			"Restore": func() error {
				return a.Restore(map[string][]osl.IfaceOption{"nothing+eth": nil}, nil, nil, nil)
			},
			"NewSandbox":               func() error { _, err := osl.NewSandbox("/run/nowhere/at/all", true, false); return err },
			"NewSandbox of the host":   func() error { _, err := osl.NewSandbox("/run/nowhere/at/all", false, false); return err },
			"GetSandboxForExternalKey": func() error { _, err := osl.GetSandboxForExternalKey("x", "a"); return err },
			"Open":                     func() error { _, err := osl.Open(context.Background(), "nothing"); return err },
		} {
			if err := call(); err == nil {
				t.Errorf("%s succeeds", what)
			}
			if now := ns(); now != here {
				t.Errorf("%s left the thread in %s, it was in %s", what, now, here)
			}
		}
	}()
	<-done
}
