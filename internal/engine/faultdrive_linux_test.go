package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/base"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
)

// faultWorld is what one operation acts on: the host, and sandboxes of which a
// is the one in question.
type faultWorld struct {
	t    testing.TB
	op   faultOp
	a    osl.Sandbox
	open []*osl.Namespace
	// found is the interface of a that find found.
	found osl.Interface
}

type faultCount struct{ points, held int }

func (c *faultCount) add(o faultCount) { c.points += o.points; c.held += o.held }

// picture is what there is at a moment.
type picture struct {
	kernel []string
	info   string
}

// driveFaults makes every exchange of an operation fail in every way, each
// time with an operation of its own.
func driveFaults(t *testing.T, op faultOp) (count faultCount) {
	in := &injector{}
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return &faulty{Transport: t, in: in} }
	defer func() { netlink.Intercept = nil }()
	w := &faultWorld{t: t, op: op}
	defer w.clear()

	w.build()
	begin := w.look()
	in.count()
	if err := op.do(w); err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	in.disarm()
	wanted := w.stillFor(200 * time.Millisecond) // on a busy machine too: all are measured by it
	if slices.Equal(begin.kernel, wanted.kernel) != strings.HasSuffix(op.name, "that is there") {
		t.Errorf("the operation changes this:\n%s", diff(begin.kernel, wanted.kernel))
	}
	w.build()
	before := w.look()
	for _, p := range faultPoints(in.points) {
		in.arm(p.kind, p.at)
		err := op.do(w)
		if !in.disarm() { // this run had fewer exchanges
			if err != nil {
				t.Errorf("without a fault: %v", err)
			}
			w.build()
			before = w.look()
			continue
		}
		count.points++
		problem := w.judge(before, wanted, err)
		if problem == "" {
			count.held++
		} else if t.Fail(); count.points-count.held <= 5 {
			t.Logf("%s, number %d: the call returned %v\n%s", p.kind, p.at, err, problem)
		}
		if problem != "" || err == nil || op.ends {
			w.build()
			before = w.look()
		}
	}
	t.Logf("fault points %d, held %d, not held %d", count.points, count.held, count.points-count.held)
	return count
}

// faultPoint is an exchange of an operation, and what happens to it.
type faultPoint struct {
	kind faultKind
	at   int
}

// faultPoints are all points, or some of them by chance, of an operation that
// has so many of each kind.
func faultPoints(counts map[faultKind]int) (list []faultPoint) {
	for _, kind := range slices.Concat(exchangeFaults, messageFaults) {
		for at := 1; at <= counts[kind]; at++ {
			list = append(list, faultPoint{kind, at})
		}
	}
	if !*allFaults {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:min(len(list), 5)]
	}
	return list
}

// judge returns what is wrong after a fault, empty where nothing is.
func (w *faultWorld) judge(before, wanted picture, err error) string {
	isBefore := func(p picture) bool { return slices.Equal(p.kernel, before.kernel) && p.info == before.info }
	isWanted := func(p picture) bool {
		return slices.Equal(anew(p.kernel), anew(wanted.kernel)) && p.info == wanted.info
	}
	if err == nil {
		if p := w.settled(isWanted); !isWanted(p) {
			return "it is not as wanted:\n" + diff(anew(wanted.kernel), anew(p.kernel)) + infoDiff(wanted, p)
		}
		return ""
	}
	if !w.op.ends {
		if p := w.settled(isBefore); !isBefore(p) {
			return "it is not as before:\n" + diff(before.kernel, p.kernel) + infoDiff(before, p)
		}
		return ""
	}
	if again := w.op.do(w); again != nil {
		return fmt.Sprintf("a second call returned %v", again)
	}
	if p := w.settled(isWanted); !isWanted(p) {
		return "it is not as wanted after a second call:\n" + diff(anew(wanted.kernel), anew(p.kernel)) + infoDiff(wanted, p)
	}
	return ""
}

// build makes the world anew, as it is before the operation.
func (w *faultWorld) build() {
	w.t.Helper()
	w.clear()
	if w.op.host != "" {
		w.batch(w.op.host)
	}
	if w.op.before != nil {
		w.op.before(w)
	}
	w.still()
}

// clear removes all sandboxes, and all links of the host but lo.
func (w *faultWorld) clear() {
	w.t.Helper()
	for _, n := range w.open {
		n.Close()
	}
	w.open, w.a = nil, nil
	keys, _ := filepath.Glob("/run/netns/*")
	for _, key := range keys {
		// A half-made one may have gone with the one that led its change.
		if err := osl.Remove(context.Background(), key, osl.WithForce()); err != nil && !errors.Is(err, osl.ErrNotFound) {
			w.t.Errorf("clean up: %v", err)
		}
	}
	if err := osl.RecoverHost(context.Background()); err != nil {
		w.t.Errorf("clean up: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		links, err := net.Interfaces()
		w.must(err)
		var list strings.Builder
		for _, l := range links {
			if l.Name != "lo" {
				list.WriteString("link del dev " + l.Name + "\n")
			}
		}
		if list.Len() == 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("these links do not go:\n%s", &list)
		}
		_ = w.try(list.String()) // one takes another along
	}
}

func (w *faultWorld) batch(commands string) {
	w.t.Helper()
	w.must(w.try(commands))
}

func (w *faultWorld) try(commands string) error {
	cmd := exec.Command("ip", "-force", "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}

func (w *faultWorld) ip(args ...string) {
	w.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// linesIn runs commands of ip in a sandbox, a line each.
func (w *faultWorld) linesIn(name, commands string) {
	w.t.Helper()
	for line := range strings.Lines(commands) {
		if words := strings.Fields(line); len(words) > 0 {
			w.ip(append([]string{"-n", name}, words...)...)
		}
	}
}

func (w *faultWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// sandbox makes one, and the world closes it.
func (w *faultWorld) sandbox(name string) (osl.Sandbox, error) {
	key, err := osl.KeyPath(name)
	w.must(err)
	sb, err := osl.NewSandbox(key, true, false)
	if err == nil {
		w.open = append(w.open, sb.(*osl.Namespace))
	}
	return sb, err
}

// keep has the world close what a call returned.
func (w *faultWorld) keep(sb osl.Sandbox, err error) (osl.Sandbox, error) {
	if err == nil {
		w.open = append(w.open, sb.(*osl.Namespace))
	}
	return sb, err
}

// foreign makes a namespace as another program does, with a link of its own.
func (w *faultWorld) foreign(name string) {
	w.t.Helper()
	key, err := osl.KeyPath(name)
	w.must(err)
	_, err = netns.MakeDir(filepath.Dir(key))
	w.must(err)
	w.must(netns.Make(func() error {
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return netns.Pin(fd, key)
	}))
	w.ip("-n", name, "link", "add", "mine", "index", "51", "address", hw(90).String(), "type", "bridge")
}

func (w *faultWorld) make(name string) osl.Sandbox {
	w.t.Helper()
	sb, err := w.sandbox(name)
	w.must(err)
	return sb
}

// find finds an interface of a by its source name.
func (w *faultWorld) find(src string) {
	w.t.Helper()
	list := w.a.Info().Interfaces()
	i := slices.IndexFunc(list, func(i osl.Interface) bool { return i.SrcName() == src })
	if i < 0 {
		w.t.Fatalf("the sandbox has no interface %s", src)
	}
	w.found = list[i]
}

// ns returns the open sandbox with a name.
func (w *faultWorld) ns(name string) *osl.Namespace {
	w.t.Helper()
	for _, n := range w.open {
		if base.NameOf(n.Key()) == name {
			return n
		}
	}
	w.t.Fatalf("%s is not open", name)
	return nil
}

// lab applies the network and opens its first sandbox.
func (w *faultWorld) lab() {
	w.t.Helper()
	_, err := osl.Apply(context.Background(), faultLab())
	w.must(err)
	n, err := osl.Open(context.Background(), "a")
	w.must(err)
	w.open, w.a = append(w.open, n), n
}

// harm changes something of every kind by hand, and adds what osl holds but
// the network does not mention.
func (w *faultWorld) harm() {
	w.t.Helper()
	w.batch(`
netns exec a ip link set p1 nomaster
netns exec a ip addr del 10.7.0.1/24 dev br0
netns exec a ip route del default
netns exec a ip link set p1 down
netns exec b ip link set eth0 mtu 1500 address 02:5a:00:00:00:99
netns exec b ip route replace default via 10.7.0.77 dev eth0 onlink proto 111
netns exec b ip route add 172.29.0.0/16 dev eth0 proto 111
netns exec b ip neigh replace 10.7.0.9 lladdr 02:5a:00:00:00:98 dev eth0 nud permanent protocol 111
netns exec b sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv4.conf.eth0.rp_filter=1
netns exec a sysctl -qw net.ipv4.ip_forward=0
`)
	if err := w.try("netns exec a ip link set wan name other"); err != nil {
		w.t.Logf("this kernel renames no link that is up: %v", err)
	}
	w.must(w.a.AddInterface("vx", "vx"))
	w.must(w.a.AddInterface("b9", "br", w.a.InterfaceOptions().Bridge(true), w.a.InterfaceOptions().MacAddress(hw(70)),
		w.a.InterfaceOptions().Address(cidr("10.77.0.1/24"))))
	w.must(w.a.AddNeighbor(net.ParseIP("192.0.2.9"), hw(9), false, onVX...))
}
