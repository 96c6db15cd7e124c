package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link is a veth where nothing else is said, and so its ends can say how many queues they
// have, those on the host too: the link says it of both. Exported, it comes back so.
func TestQueuesOfALink(t *testing.T) {
	queues := func(link string) string {
		return sh(t, "ip "+link+" | grep -o 'numtxqueues [0-9]* numrxqueues [0-9]*'")
	}
	file := fileOf(t, "qu", `sandboxes: [{name: qu-a, interfaces: [{name: e0, numrxqueues: 4}]}, {name: qu-b}]
links:
  - [qu-a/e0, qu-b/e0]
  - {ends: [qu-b/e1, host/qu-h], numtxqueues: 3}`)
	for range 2 {
		want(t, 0, nil, "up", file)
		want(t, 0, nil, "diff", file)
		for link, is := range map[string]string{"-n qu-a -d link show e0": "1 numrxqueues 4", "-n qu-b -d link show e0": "1 numrxqueues 1",
			"-n qu-b -d link show e1": "3 numrxqueues 1", "-d link show qu-h": "3 numrxqueues 1"} {
			if got := queues(link); strings.TrimSpace(got) != "numtxqueues "+is {
				t.Errorf("%s: %s, not %s", link, got, is)
			}
		}
		exported := want(t, 0, nil, "export", "qu")
		want(t, 0, nil, "down", "qu")
		file = filepath.Join(t.TempDir(), "exported.yaml")
		if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Of a pair of another type they mean nothing, nor of what is no end of a link.
	for _, text := range []string{
		"sandboxes: [{name: qu-a, interfaces: [{name: e0, numrxqueues: 4}]}, {name: qu-b, interfaces: [{name: e0, type: netkit}]}]\nlinks: [[qu-a/e0, qu-b/e0]]",
		"sandboxes: [{name: qu-a, interfaces: [{name: e0, numrxqueues: 4}]}]",
	} {
		want(t, 2, []string{"numrxqueues means nothing"}, "up", fileOf(t, "qu", text))
	}
}

// What osl export writes of a part of a network is not for osl up as it is, and it says so: of
// the whole it says nothing.
func TestExportOfAPart(t *testing.T) {
	file := fileOf(t, "part", `sandboxes: [{name: part-a}, {name: part-b, interfaces: [{name: e2, peer: host/part-h}, {name: lo, addresses: [10.9.9.9/32]}, {name: br, type: bridge}]}, {name: part-c}]
links: [[part-a/e0, part-b/e0], [part-b/e1, part-c/e0]]`)
	want(t, 0, nil, "up", file)
	defer want(t, 0, nil, "down", file)
	want(t, 0, nil, "create", "part-d")
	defer want(t, 0, nil, "rm", "part-d")
	refused := `the network "part" has other sandboxes too`
	for _, x := range []struct {
		args string
		says []string
	}{
		{"part", nil},
		{"part-a part-b part-c", nil},
		{"part-d", nil},
		{"part-a part-b", []string{refused + " (part-c)", "part-b/e1 is in the file as it is"}},
		{"part-b", []string{refused + " (part-a, part-c)", "part-b/e0 is in", "part-b/e1 is in"}},
		{"part-d part", []string{"not all sandboxes are of one network (part)"}},
	} {
		code, out, errs := runOSL(t, append([]string{"export"}, strings.Fields(x.args)...)...)
		for _, text := range x.says {
			if !strings.Contains(errs, text) {
				t.Errorf("osl export %s: no %q in\n%s", x.args, text, errs)
			}
		}
		if lines := strings.Count(errs, "\n"); code != 0 || lines != len(x.says) {
			t.Errorf("osl export %s: exit code %d, %d lines of %d:\n%s", x.args, code, lines, len(x.says), errs)
		}
		// It is refused exactly where that was said.
		if code, out, errs := runOSL(t, "diff", fileOf(t, "other", out)); (code == 1) != (len(x.says) > 0) {
			t.Errorf("osl diff of what osl export %s wrote: exit code %d\n%s%s", x.args, code, out, errs)
		}
	}
}

// What osl export writes has the addresses of a link in the order in which they were given: a
// network that is made of it is exported as the same.
func TestExportOfAddresses(t *testing.T) {
	const list = "10.9.0.2/24, 10.9.0.1/24, fd09::3/64, fd09::1/64, fd09::2/64"
	file := fileOf(t, "order", `sandboxes: [{name: order-a, interfaces: [{name: e, type: bridge, addresses: [`+list+`], aliases: ["fd09::7/128", "fd09::5/128"]}]}]`)
	for range 2 {
		want(t, 0, nil, "up", file)
		exported := want(t, 0, []string{"addresses: [" + list + "]", "aliases: [fd09::7/128, fd09::5/128]"}, "export", "order")
		want(t, 0, nil, "down", file)
		file = fileOf(t, "order", exported)
	}
}
