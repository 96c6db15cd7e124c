package osltest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// What keeps a sandbox's namespace and is no TCP, UDP or unix socket fails the test too.
func TestLeftDescriptors(t *testing.T) {
	for name, want := range map[string]string{
		"tap":     "a queue of a tun or tap open in h1",
		"file":    "a descriptor of the namespace open in h1",
		"netlink": "a netlink socket open in h1",
		"handle":  "a descriptor of the namespace open in h1",
		"none":    "",
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			r := &recordingT{TB: t, dir: t.TempDir()}
			n := Up(r, lan(1))
			s := n.Sandbox("h1")
			var left interface{ Close() error }
			var err error
			nothing := func(context.Context) error { return nil }
			switch name {
			case "tap":
				if err = s.AddLink(ctx, osl.InterfaceSpec{Name: "tap0", Type: "tap"}); err == nil {
					left, err = s.OpenTun("tap0")
				}
			case "file":
				left, err = s.File()
			case "netlink":
				left, err = s.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC)
			case "handle":
				var again *osl.Namespace
				if again, err = osl.Open(ctx, s.Key()); err == nil {
					left, err = again, again.Do(ctx, nothing)
				}
			case "none": // what the network's own handles keep is not the test's
				s.Info()
				s.Info()
				err = errors.Join(s.Do(ctx, nothing), s.CommandWithMounts(ctx, "true").Run())
			}
			r.finish()
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, os.ErrNotExist) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if left != nil {
				_ = left.Close()
			}
			if r.failed != (want != "") || !strings.Contains(r.text.String(), want) {
				t.Errorf("failed: %v\n%s", r.failed, r.text.String())
			}
		})
	}
}
