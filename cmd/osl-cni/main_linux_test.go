//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// The test binary is also the plugin, and an IPAM plugin, under other names.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); {
	case name == "fake-ipam":
		fakeIPAM()
	case name == "osl-cni" || name == hostLocal || modes[name] != nil:
		main()
	default:
		testnet.Main(m)
	}
}

// fakeIPAM gives addresses of 10.77.0.0/16 out, each a file in a directory that is
// named by the attachment.
func fakeIPAM() {
	var c struct {
		IPAM struct {
			Dir  string
			Fail string
		}
	}
	b, _ := io.ReadAll(os.Stdin)
	if json.Unmarshal(b, &c) != nil || c.IPAM.Dir == "" {
		os.Exit(1) // who called it was killed
	}
	verb := os.Getenv("CNI_COMMAND")
	lease := os.Getenv("CNI_CONTAINERID") + " " + os.Getenv("CNI_IFNAME")
	if strings.Contains(c.IPAM.Fail, verb) {
		_ = types.NewError(types.ErrTryAgainLater, "the fake IPAM fails", "").Print()
		os.Exit(1)
	}
	list, _ := os.ReadDir(c.IPAM.Dir)
	switch verb {
	case "DEL":
		for _, e := range list {
			if b, _ := os.ReadFile(filepath.Join(c.IPAM.Dir, e.Name())); string(b) == lease {
				_ = os.Remove(filepath.Join(c.IPAM.Dir, e.Name()))
			}
		}
	case "ADD":
		for ip := netip.MustParseAddr("10.77.0.2"); ; ip = ip.Next() {
			f, err := os.OpenFile(filepath.Join(c.IPAM.Dir, ip.String()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if errors.Is(err, os.ErrExist) {
				continue
			}
			if err != nil {
				panic(err)
			}
			fmt.Fprint(f, lease)
			fmt.Printf(`{"cniVersion": "1.0.0", "ips": [{"address": "%s/16"}], "routes": [{"dst": "0.0.0.0/0"}]}`, ip)
			return
		}
	}
}

// cni calls plugins as a runtime does.
type cni struct {
	t      *testing.T
	bin    string // the directory of the plugins
	leases string
	ifName string // of the container
}

func newCNI(t *testing.T) *cni {
	c := &cni{t: t, bin: t.TempDir(), leases: t.TempDir(), ifName: "eth0"}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(modeNames(), "osl-cni", hostLocal, "fake-ipam") {
		if err := os.Symlink(exe, filepath.Join(c.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// sandbox makes a namespace for a container, as another program does.
func (c *cni) sandbox(name string) (path string) {
	c.t.Helper()
	n, err := osl.Create(c.t.Context(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	defer n.Close()
	c.t.Cleanup(func() {
		if err := osl.Remove(context.Background(), name); err != nil && !errors.Is(err, osl.ErrNotFound) {
			c.t.Error(err)
		}
	})
	return n.Key()
}

// opened opens a sandbox until the test ends.
func (c *cni) opened(path string) *osl.Namespace {
	c.t.Helper()
	n, err := osl.Open(c.t.Context(), path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { n.Close() })
	return n
}

// command is a call of a plugin.
func (c *cni) command(plugin, verb, id, netns, conf string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, plugin))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_NETNS="+netns, "CNI_IFNAME="+c.ifName, "CNI_PATH="+c.bin)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(conf, "LEASES", c.leases))
	return cmd
}

// call calls a plugin and returns what it printed.
func (c *cni) call(plugin, verb, id, netns, conf string) ([]byte, error) {
	cmd := c.command(plugin, verb, id, netns, conf)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		e := &types.Error{}
		if json.Unmarshal(out.Bytes(), e) == nil && e.Msg != "" {
			return nil, e
		}
		return nil, fmt.Errorf("%w: %s%s", err, out.Bytes(), stderr.Bytes())
	}
	return out.Bytes(), nil
}

func (c *cni) must(plugin, verb, id, netns, conf string) []byte {
	c.t.Helper()
	out, err := c.call(plugin, verb, id, netns, conf)
	if err != nil {
		c.t.Fatalf("%s %s: %v", verb, conf, err)
	}
	return out
}

// withResult returns a configuration with prevResult in it.
func withResult(conf string, result []byte) string {
	return strings.TrimSuffix(strings.TrimSpace(conf), "}") + `, "prevResult": ` + string(result) + "}"
}

func (c *cni) result(b []byte) *current.Result {
	c.t.Helper()
	r, err := current.NewResult(b)
	if err != nil {
		c.t.Fatalf("%s: %v", b, err)
	}
	return r.(*current.Result)
}

// left returns what there is on the host besides lo and what is named, and the leases.
func (c *cni) left(except ...string) (list []string) {
	c.t.Helper()
	host, err := openHost()
	if err != nil {
		c.t.Fatal(err)
	}
	defer host.Close()
	st, err := host.Inspect(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, x := range st.Interfaces {
		if !strings.Contains(" "+strings.Join(except, " ")+" ", " "+x.Name+" ") {
			list = append(list, x.Name)
		}
	}
	if lo, err := host.Interface(c.t.Context(), "lo"); err != nil || lo.UnderWay {
		list = append(list, fmt.Sprintf("a record: %v", err))
	}
	files, _ := os.ReadDir(c.leases)
	for _, f := range files {
		list = append(list, "the lease "+f.Name())
	}
	return list
}
