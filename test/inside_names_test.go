//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed59451c2b/osl"
)

func init() { children["names"] = tellNames }

// tellNames tells what each way to look a name up says, in two sandboxes.
func tellNames(args []string) int {
	ctx := context.Background()
	for _, name := range args {
		n, err := osl.Open(ctx, name)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		l, err := n.Listen(ctx, "tcp", "0.0.0.0:80")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		go says(l, "hello")
		p, err := n.ListenPacket(ctx, "udp", "127.0.0.53:53")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		go serveNames(p)
		for _, host := range []string{"both", "process", "sandbox", "asked"} {
			said := func(list []string, err error) string {
				var e *net.DNSError
				if errors.As(err, &e) && e.IsNotFound {
					return "none"
				}
				if err != nil {
					return err.Error()
				}
				return strings.Join(slices.Compact(list), ",")
			}
			line := host
			c, err := n.DialContext(ctx, "tcp", host+":80")
			if err == nil {
				line += " dial " + c.RemoteAddr().(*net.TCPAddr).IP.String()
				_ = c.Close()
			} else {
				line += " dial " + said(nil, err)
			}
			addrs, err := n.LookupNetIP(ctx, "ip", host)
			var list []string
			for _, a := range addrs {
				list = append(list, a.String())
			}
			line += " lookup " + said(list, err)
			line += " resolver " + said(n.Resolver().LookupHost(ctx, host))
			fmt.Println(line)
		}
		_ = l.Close()
		_ = p.Close()
		_ = n.Close()
	}
	return 0
}

// serveNames knows one name, without a domain.
func serveNames(p net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		k, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:k]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		switch {
		case q.Name.String() != "asked.":
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 9}}}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = p.WriteTo(out, from)
		}
	}
}

// Names go by the files of /etc/netns/NAME where these are there, and not by the
// process's, which say something else here; where there are none, by the process's. A
// *net.Resolver reads the process's hosts file first, as its documentation says.
func TestInsideNames(t *testing.T) {
	own, plain := opened(t), opened(t)
	etc := t.TempDir()
	for name, text := range map[string]string{
		"hosts":                                "127.0.0.2 both\n127.0.0.3 process\n",
		"resolv.conf":                          "nameserver 127.0.0.53\noptions timeout:5\n",
		"netns/" + own.Name() + "/hosts":       "127.0.0.4 both\n127.0.0.5 sandbox\n",
		"netns/" + own.Name() + "/resolv.conf": "nameserver 127.0.0.53\n",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(etc, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644))
	}
	// In a mount namespace of its own, and before package net has read the files.
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$T" /etc && exec "$OSL" "$@"`, "sh", own.Name(), plain.Name())
	cmd.Env = append(os.Environ(), "T="+etc, fmt.Sprintf("OSL=/proc/%d/exe", os.Getpid()), childVar+"=names")
	out, err := cmd.CombinedOutput()
	want := `both dial 127.0.0.4 lookup 127.0.0.4 resolver 127.0.0.2
process dial none lookup none resolver 127.0.0.3
sandbox dial 127.0.0.5 lookup 127.0.0.5 resolver 127.0.0.5
asked dial 127.0.0.9 lookup 127.0.0.9 resolver 127.0.0.9
both dial 127.0.0.2 lookup 127.0.0.2 resolver 127.0.0.2
process dial 127.0.0.3 lookup 127.0.0.3 resolver 127.0.0.3
sandbox dial none lookup none resolver none
asked dial 127.0.0.9 lookup 127.0.0.9 resolver 127.0.0.9
`
	if err != nil || string(out) != want {
		t.Errorf("%v, and\n%s, not\n%s", err, out, want)
	}
}
