package peer

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// run is one behaviour with one driver.
type run struct {
	driver
	step string
	env  string
}

// not ends the process: the behaviour does not hold.
func (r *run) not(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(codeNot)
}

// missing ends the process: the package offers no such thing.
func (r *run) missing(what string) {
	fmt.Println(what)
	os.Exit(codeMissing)
}

// ok demands that a call succeeds.
func (r *run) ok(what string, err error) {
	if err != nil {
		r.not("%s: %v", what, err)
	}
}

// fails demands that a call fails.
func (r *run) fails(what string, err error) {
	if err == nil {
		r.not("%s: no error", what)
	}
}

// same demands that a text is what it was.
func (r *run) same(what, got, want string) {
	if got != want {
		r.not("%s: %s; want %s", what, got, want)
	}
}

// sandbox makes one, in the directory of the keys.
func (r *run) sandbox(id string) (sandbox, string) {
	key := r.key(id)
	sb, err := r.create(key)
	r.ok("create", err)
	return sb, key
}

// iface is the interface with a source name, which must be there.
func (r *run) iface(sb sandbox, src string) iface {
	for _, i := range sb.ifaces() {
		if i.SrcName() == src {
			return i
		}
	}
	r.not("no interface came from %s", src)
	return nil
}

// added adds an interface and returns it.
func (r *run) added(sb sandbox, src, prefix string, c conf) iface {
	r.ok("add "+src, sb.add(src, prefix, c))
	return r.iface(sb, src)
}

// host makes a link of the host with properties of its own: the end of a pair
// whose other end is up.
func (r *run) host(name string) string {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.HardwareAddr = name, 1400, mac("02:00:00:00:00:aa")
	setup(netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: name + "p"}))
	l, err := netlink.LinkByName(name)
	setup(err)
	setup(netlink.LinkSetAlias(l, "the host's"))
	r.up(name)
	r.up(name + "p")
	return r.link(name)
}

func (r *run) up(name string) {
	l, err := netlink.LinkByName(name)
	setup(err)
	setup(netlink.LinkSetUp(l))
}

// link describes a link of the host.
func (r *run) link(name string) string {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Sprintf("%s is not on the host: %v", name, err)
	}
	a := l.Attrs()
	return fmt.Sprintf("%s %s mtu %d up %v alias %q", a.Name, a.HardwareAddr, a.MTU, a.Flags&net.FlagUp != 0, a.Alias)
}

// nameIsHome demands that a link of this name is on the host.
func (r *run) nameIsHome(name string) {
	if _, err := netlink.LinkByName(name); err != nil {
		r.not("%s is not on the host: %v", name, err)
	}
}

// within gives a witness in the sandbox.
func (r *run) within(key string) *netlink.Handle {
	fd, err := netns.GetFromPath(key)
	setup(err)
	defer fd.Close()
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	setup(err)
	return h
}

func (r *run) inside(key, name string) netlink.Link {
	l, err := r.within(key).LinkByName(name)
	if err != nil {
		r.not("%s is not in the sandbox: %v", name, err)
	}
	return l
}

// linksIn are the names of the links in the sandbox, but for lo.
func (r *run) linksIn(key string) string {
	list, err := r.within(key).LinkList()
	setup(err)
	var names []string
	for _, l := range list {
		if l.Attrs().Name != "lo" {
			names = append(names, l.Attrs().Name)
		}
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

// addrsIn are all addresses of an interface in the sandbox, each with its state.
func (r *run) addrsIn(key, name string) string {
	h := r.within(key)
	l, err := h.LinkByName(name)
	setup(err)
	list, err := h.AddrList(l, netlink.FAMILY_ALL)
	setup(err)
	var out []string
	for _, a := range list {
		text := a.IPNet.String()
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			text += " tentative"
		}
		out = append(out, text)
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}

// neighborIn is the hardware address and the state of a neighbour.
func (r *run) neighborIn(key, name, ip string) string {
	l := r.inside(key, name)
	list, err := r.within(key).NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
	setup(err)
	for _, n := range list {
		if n.IP.String() == ip {
			return fmt.Sprintf("%s %#x", n.HardwareAddr, n.State)
		}
	}
	return "none"
}

// describe is all that the package says of a sandbox.
func describe(sb sandbox) string {
	var b strings.Builder
	for _, i := range sb.ifaces() {
		fmt.Fprintf(&b, "%s as %s %v %v; ", i.SrcName(), i.DstName(), i.Address(), i.AddressIPv6())
	}
	fmt.Fprintf(&b, "gateway %v; routes %v", sb.gateway(false), sb.routes())
	return b.String()
}

// child starts a step of this behaviour in a process of its own, in the same
// namespaces, and waits until it says that it has come to where it is wanted.
func (r *run) child(step string, unprivileged bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), r.env, stepVar+"="+step)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	setup(err)
	if unprivileged {
		// Root's program file gives all of the bounding set, which is this
		// thread's; this process does nothing else afterwards.
		setup(unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0))
	}
	setup(cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		_ = cmd.Wait()
		r.not("%s: %s", step, strings.TrimSpace(line))
	}
	return cmd
}

// ready says so to the process that waits in child.
func ready() { fmt.Println("ready") }

// eventually waits until what holds, for two seconds.
func (r *run) eventually(what string, holds func() bool) {
	for end := time.Now().Add(2 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.not("never: %s", what)
		}
	}
}

// cidr parses an address with its prefix length, as short as it can be.
func cidr(s string) *net.IPNet {
	ip, n, err := net.ParseCIDR(s)
	setup(err)
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return &net.IPNet{IP: ip, Mask: n.Mask}
}

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	setup(err)
	return m
}
