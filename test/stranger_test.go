//go:build linux

package osltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

func init() { children["stranger"] = stranger }

// stranger tries everything on the sandbox of somebody else, at the key args[0],
// and prints what is not denied. Then it holds what locks it can get until its
// standard input ends. Words after the key say who it is.
func stranger(args []string) int {
	key, who := args[0], args[1:]
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	denied := func(what string, err error) {
		if !errors.Is(err, osl.ErrPermission) && !errors.Is(err, os.ErrPermission) {
			fmt.Printf("%s: %v\n", what, err)
		}
	}
	if _, err := os.Lstat(key); err != nil {
		fmt.Println("the key is not even seen:", err)
	}
	_, err := osl.Open(ctx, key)
	denied("Open", err)
	_, err = osl.NewSandbox(key, false, true)
	denied("NewSandbox, to be restored", err)
	if _, err = osl.NewSandbox(key, true, false); !errors.Is(err, osl.ErrExists) {
		denied("NewSandbox in its place", err)
	}
	_, err = osl.GetSandboxForExternalKey(key, filepath.Join(filepath.Dir(key), "second"))
	denied("pin it a second time", err)
	_, err = osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: key, Gateway: netip.MustParseAddr("10.92.0.9")}}})
	denied("Apply", err)
	_, err = osl.DiffDown(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: key}}})
	denied("DiffDown", err)
	if slices.Contains(who, "other") {
		denied("remove the key", os.Remove(key))
		_, err := os.OpenFile(filepath.Join(filepath.Dir(filepath.Dir(key)), "osl.lock"), os.O_RDWR, 0)
		denied("open the lock file", err)
	}
	// Who can read a file can lock it; that must hinder nobody.
	if f, err := os.Open(key); err == nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
		defer f.Close()
	}
	if slices.Contains(who, "own") {
		if err := ownSandbox(ctx); err != nil {
			fmt.Println("a sandbox of its own:", err)
		}
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// ownSandbox is what anybody can do in a user namespace of their own.
func ownSandbox(ctx context.Context) error {
	base, err := os.MkdirTemp("", "own")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	osl.SetBasePath(base)
	n, err := osl.Create(ctx, "mine")
	if err != nil {
		return err
	}
	_, err = n.Apply(ctx, osl.Spec{Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.92.1.1/24")}}}})
	if err == nil && len(n.Info().Interfaces()) != 1 {
		err = errors.New("it has no interface")
	}
	return errors.Join(err, n.InvokeFunc(func() {}), n.Destroy())
}

// A process that lacks what it needs sees another's sandbox and can neither use,
// change, replace nor remove it, nor keep its owner from doing so.
func TestStrangersReachNoSandbox(t *testing.T) {
	nobody := []syscall.SysProcIDMap{{HostID: 65534, Size: 1}}
	if !testnet.IsRoot() {
		nobody = []syscall.SysProcIDMap{{HostID: 0, Size: 1}} // the only user there is
	}
	for _, s := range []struct {
		name string
		who  []string
		attr syscall.SysProcAttr
	}{
		{"without capabilities", nil, syscall.SysProcAttr{}},
		{"another user", []string{"other"}, syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}},
		{"root of its own user namespace", []string{"own", "other"}, syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
			Credential:  &syscall.Credential{NoSetGroups: true},
			UidMappings: nobody, GidMappings: nobody}},
	} {
		t.Run(s.name, func(t *testing.T) {
			if !testnet.IsRoot() {
				if s.attr.Credential != nil && s.attr.UidMappings == nil {
					t.Skip("these tests do not run as root: there is no other user")
				}
				s.who = slices.DeleteFunc(s.who, func(w string) bool { return w == "other" })
			}
			w := begin(t)
			sb := w.sandbox()
			src, dst, _ := w.eth(sb, "10.92.0.2/24")
			was, within, info := inode(t, sb.Key()), snapshot(t, sb.Key()), infoText(sb.Info())
			cmd := child("stranger", append([]string{sb.Key()}, s.who...)...)
			cmd.SysProcAttr, cmd.Stderr = &s.attr, os.Stderr
			in, err := cmd.StdinPipe()
			must(t, err)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, ownThread(func() error {
				if s.attr.Credential == nil {
					for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
						if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
							return err
						}
					}
				}
				return cmd.Start()
			}))
			said := bufio.NewScanner(out)
			for said.Scan() && said.Text() != "ready" {
				t.Error(said.Text())
			}
			if said.Text() != "ready" {
				t.Error("the stranger did not get to its end")
			}
			// While it holds what it can.
			begun := time.Now()
			must(t, sb.AddAliasIP(dst, ipnet("10.92.0.7/32")))
			must(t, sb.RemoveAliasIP(dst, ipnet("10.92.0.7/32")))
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("the owner waited %v for the stranger", took)
			}
			if inode(t, sb.Key()) != was {
				t.Error("the sandbox was replaced")
			}
			same(t, "the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
			if got := infoText(sb.Info()); got != info {
				t.Errorf("Info was\n%s\nand is\n%s", info, got)
			}
			must(t, in.Close())
			must(t, cmd.Wait())
			must(t, iface(t, sb, src).Remove())
			if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "own*", "*")); len(left) > 0 {
				t.Errorf("left behind: %s", strings.Join(left, " "))
			}
		})
	}
}
