//go:build linux

package osltest

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// hostSettings are all of the host's network sysctls.
func hostSettings(t *testing.T) (out []string) {
	t.Helper()
	must(t, filepath.WalkDir("/proc/sys/net", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(p)
		if err == nil && !strings.Contains(p, "mem") {
			out = append(out, p+"="+string(b))
		}
		return nil
	}))
	return out
}

// logged runs f and returns what it logged.
func logged(f func()) string {
	var b lockedBuffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(was)
	f()
	return b.String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestApplyOSTweaks(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	want := map[string]string{"conn_reuse_mode": "0", "expire_nodest_conn": "1", "expire_quiescent_template": "1"}
	for _, kinds := range [][]osl.SandboxType{
		{osl.SandboxTypeIngress}, {osl.SandboxTypeLoadBalancer}, {osl.SandboxTypeIngress, osl.SandboxTypeLoadBalancer},
	} {
		host := hostSettings(t)
		log := logged(func() { sb.ApplyOSTweaks(kinds) })
		for knob, value := range want {
			switch got := sysctl(t, sb.Key(), "ipv4/vs/"+knob); got {
			case "-":
				if !strings.Contains(log, knob) {
					t.Errorf("%v: the kernel lacks %s, and no log entry says so: %q", kinds, knob, log)
				}
			case value:
			default:
				t.Errorf("%v: %s is %s, want %s", kinds, knob, got, value)
			}
		}
		same(t, "the host's sysctls", host, func() []string { return hostSettings(t) })
	}
	if sysctl(t, sb.Key(), "ipv4/vs/conn_reuse_mode") == "-" {
		if testnet.Machine() && testnet.IsRoot() {
			t.Error("the kernel module ip_vs is loaded, and its settings are not there")
		}
		t.Log("this kernel has no IPVS: only that its absence is logged was tested")
	}
	host := hostSettings(t)
	sb.ApplyOSTweaks(nil)
	same(t, "the host's sysctls", host, func() []string { return hostSettings(t) })
}
