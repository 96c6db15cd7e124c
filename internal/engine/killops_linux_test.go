package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/cli"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"github.com/seed59451c2b/osl/internal/plan"
)

// runCommand runs the osl command in this process and returns its exit code and
// what it wrote to the standard error.
func runCommand(args ...string) (code int, stderr string) {
	var b bytes.Buffer
	code = cli.Run(context.Background(), args, strings.NewReader(""), io.Discard, &b)
	return code, b.String()
}

func command(args ...string) error {
	if code, stderr := runCommand(args...); code != 0 {
		return errors.New(strings.TrimSpace(stderr))
	}
	return nil
}

// An uplink of the host, as examples/uplink.yaml wants it, with what a host has
// there.
const uplink = `
link add uplink0 index 45 address 02:5a:00:00:00:11 mtu 1450 txqueuelen 900 type veth peer name uplink1 index 46 address 02:5a:00:00:00:12
link set uplink0 alias uplink;of=mine
link property add dev uplink0 altname the-uplink-of-this-host
addr add 10.50.0.1/24 dev uplink1
link set uplink1 up
link set uplink0 up
addr add 192.0.2.10/24 dev uplink0
addr add 2001:db8:10::1/64 dev uplink0 nodad
route add 203.0.113.0/24 via 192.0.2.9 dev uplink0
route add 2001:db8:77::/48 via 2001:db8:10::9 dev uplink0
`

// exampleOps are osl up and osl down of a file that is there.
func exampleOps(as, file string) []faultOp {
	host := ""
	if filepath.Base(file) == "uplink.yaml" {
		host = uplink
	}
	up := func(*faultWorld) error { return command("up", "--no-check", file) }
	return []faultOp{
		{name: "osl up " + as, host: host, do: up},
		{name: "osl down " + as, host: host, ends: true, before: func(w *faultWorld) { w.must(up(w)) },
			do: func(*faultWorld) error { return command("down", file) }},
	}
}

// Examples with links that not every kernel has.
const (
	vrfExample       = "../../examples/vrf.yaml"
	wireGuardExample = "../../examples/wireguard.yaml"
	lossyExample     = "../../examples/lossy.yaml"
)

// commandOps are operations of the osl command.
func commandOps() (ops []faultOp) {
	files, _ := filepath.Glob("../../examples/*.yaml")
	for _, file := range files {
		if file != vrfExample && file != wireGuardExample && file != lossyExample { // linkKillOps, wireGuardOps; slow.yaml has its steps
			ops = append(ops, exampleOps(strings.TrimSuffix(filepath.Base(file), ".yaml"), file)...)
		}
	}
	uplinkUp := func(w *faultWorld) { w.must(command("up", "--no-check", "../../examples/uplink.yaml")) }
	return append(ops,
		faultOp{name: "osl create", do: func(*faultWorld) error { return command("create", "a") }},
		faultOp{name: "osl create beside another", before: func(w *faultWorld) { w.must(command("create", "b")) },
			do: func(*faultWorld) error { return command("create", "a") }},
		faultOp{name: "osl rm with a link of the host", host: uplink, ends: true, before: uplinkUp,
			do: func(*faultWorld) error { return command("rm", "edge") }},
		faultOp{name: "osl link add of the host's", host: uplink, before: func(w *faultWorld) { w.must(command("create", "a")) },
			do: func(*faultWorld) error {
				return command("link", "add", "a", "wan0", "--source", "uplink0", "--mtu", "1400", "--address", "10.50.0.2/24")
			}},
		faultOp{name: "osl link add of a veth", before: func(w *faultWorld) { w.must(command("create", "a")) },
			do: func(*faultWorld) error {
				return command("link", "add", "a", "eth0", "--peer", "host/a-eth0", "--mac", hw(52).String(), "--address", "10.6.0.1/24", "--address", "2001:db8:6::1/64")
			}},
		faultOp{name: "osl link add of a tap", before: func(w *faultWorld) { w.must(command("create", "a")) },
			do: func(*faultWorld) error {
				return command("link", "add", "a", "tap0", "--type", "tap", "--mac", hw(53).String(), "--address", "10.6.0.1/24")
			}},
		faultOp{name: "osl link rm of the host's", host: uplink, before: uplinkUp,
			do: func(*faultWorld) error { return command("link", "rm", "edge", "wan0") }},
	)
}

// abandoned carries a change of the lab out as far as to the moment in which it
// has happened, or one step less, and leaves it there as a dead process does.
func abandoned(w *faultWorld, net osl.Network, happened bool) {
	p, err := engine.Prepare(context.Background(), wanted(net), true)
	w.must(err)
	defer p.Close()
	ops, commit, err := p.Build()
	w.must(err)
	ops = plan.Journal(ops, commit, p.Run().Setting)
	n := slices.IndexFunc(ops, func(op plan.Op) bool { return op.Commit })
	if happened {
		n++
	}
	w.must(p.Run().Forward(ops[:n]))
}

// recoverOps put right what a process left that died: who dies at that leaves it
// to the next.
func recoverOps() []faultOp {
	recovers := func(*faultWorld) error { return command("recover") }
	list := []faultOp{
		{name: "osl recover of new sandboxes", host: richVeth, before: func(w *faultWorld) { abandoned(w, faultLab(), false) }},
		{name: "osl recover of new sandboxes that are complete", host: richVeth, before: func(w *faultWorld) { abandoned(w, faultLab(), true) }},
		{name: "osl recover of a change", host: richVeth + hostVXLAN,
			before: func(w *faultWorld) { w.lab(); w.harm(); abandoned(w, faultLab(), false) }},
		{name: "osl recover of a change that removes", host: richVeth + hostVXLAN,
			before: func(w *faultWorld) { w.lab(); w.harm(); abandoned(w, lesserLab(), false) }},
		{name: "osl recover of a change that removes and has happened", host: richVeth + hostVXLAN,
			before: func(w *faultWorld) { w.lab(); w.harm(); abandoned(w, lesserLab(), true) }},
	}
	for i := range list {
		list[i].do, list[i].ends, list[i].recovers = recovers, true, true
	}
	return list
}

func killOps() []faultOp {
	return slices.Concat(faultOps(), commandOps(), recoverOps(), linkKillOps(), wireGuardOps())
}

// operationEnv has the operation that a process is to carry out.
const operationEnv = "OSL_TEST_OPERATION"

// operation says what a process of its own does, and what it finds open.
type operation struct {
	Name  string
	Open  []string // sandboxes; the first is the one in question
	Found string   // source name of an interface of that
}

// outcome is what an operation reports: its error, and where it ends something
// and failed, that of a second call.
type outcome struct {
	Done       bool
	Err, Again string
}

// perform carries out an operation in a process of its own, and ends that.
func perform(text string) {
	w := &faultWorld{t: alone{}}
	var o operation
	w.must(json.Unmarshal([]byte(text), &o))
	ops := killOps()
	i := slices.IndexFunc(ops, func(op faultOp) bool { return op.name == o.Name })
	if i < 0 {
		w.t.Fatalf("no operation %q", o.Name)
	}
	for _, name := range o.Open {
		n, err := osl.Open(context.Background(), name)
		w.must(err)
		w.open = append(w.open, n)
	}
	if len(w.open) > 0 {
		w.a = w.open[0]
	}
	if o.Found != "" {
		w.find(o.Found)
	}
	w.must(trapCalls())
	mark()
	err := ops[i].do(w)
	mark()
	out := outcome{Done: err == nil}
	if err != nil {
		out.Err = err.Error()
		if ops[i].ends {
			out.Again = fmt.Sprint(ops[i].do(w))
		}
	}
	w.must(json.NewEncoder(os.Stdout).Encode(out))
	os.Exit(0)
}

// alone stands for the test in a process that is none.
type alone struct{ testing.TB }

func (alone) Helper() {}

func (alone) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

func (a alone) Fatalf(format string, args ...any) { a.Fatal(fmt.Sprintf(format, args...)) }
