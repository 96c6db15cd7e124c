package clients

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/osltest"
)

func init() { children["etcd"] = etcd }

// etcd is a node: its arguments are its name, its directory, and all nodes as
// name=address.
func etcd(args []string) int {
	c := embed.NewConfig()
	c.Name, c.Dir, c.LogLevel = args[0], args[1], "error"
	c.UnsafeNoFsync = true
	c.TickMs, c.ElectionMs = 50, 500
	var cluster []string
	for _, node := range args[2:] {
		name, ip, _ := strings.Cut(node, "=")
		peer, client := url.URL{Scheme: "http", Host: ip + ":2380"}, url.URL{Scheme: "http", Host: ip + ":2379"}
		cluster = append(cluster, name+"="+peer.String())
		if name == c.Name {
			c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
			c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		}
	}
	c.InitialCluster = strings.Join(cluster, ",")
	e, err := embed.StartEtcd(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	e.Close()
	return 0
}

// Three nodes, of which the leader is cut off, and comes back. A client of the others
// sees one value throughout, and so does the old leader in the end.
func TestEtcd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	names := []string{"n1", "n2", "n3", "client"}
	var spec osl.Network
	var nodes []string
	sw := osl.Spec{Name: "switch", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge"}}}
	for i, name := range names {
		ip := fmt.Sprint("10.0.0.", i+1)
		spec.Sandboxes = append(spec.Sandboxes, osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: nets(ip + "/24")}}})
		sw.Interfaces = append(sw.Interfaces, osl.InterfaceSpec{Name: name, Master: "br0"})
		spec.Links = append(spec.Links, osl.Link{{Sandbox: name, Interface: "eth0"}, {Sandbox: "switch", Interface: name}})
		if name != "client" {
			nodes = append(nodes, name+"="+ip)
		}
	}
	spec.Sandboxes = append(spec.Sandboxes, sw)
	n := osltest.Up(t, spec)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names[:3] {
		c := n.Sandbox(name).Command(ctx, self, append([]string{name, filepath.Join(dir, name)}, nodes...)...)
		c.Env = append(os.Environ(), childVar+"=etcd")
		c.Stderr = os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
		c.WaitDelay = 10 * time.Second
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	}
	connect := func(names ...string) *clientv3.Client {
		t.Helper()
		var ends []string
		for _, name := range names {
			for _, node := range nodes {
				if ip, ok := strings.CutPrefix(node, name+"="); ok {
					ends = append(ends, ip+":2379")
				}
			}
		}
		c, err := clientv3.New(clientv3.Config{Endpoints: ends, DialTimeout: 30 * time.Second, Context: ctx, DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) {
				return n.Sandbox("client").DialContext(ctx, "tcp", strings.TrimPrefix(a, "tcp://"))
			})}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	retry := func(what string, f func(ctx context.Context) error) {
		t.Helper()
		for {
			try, done := context.WithTimeout(ctx, 2*time.Second)
			err := f(try)
			done()
			if err == nil {
				return
			}
			if ctx.Err() != nil {
				t.Fatal(what, ": ", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	clients := map[string]*clientv3.Client{}
	for _, name := range names[:3] {
		clients[name] = connect(name)
	}
	// leader returns the leader that a node knows.
	leader := func(asked string, not ...string) (name string) {
		t.Helper()
		retry("ask "+asked+" for the leader", func(ctx context.Context) error {
			st, err := clients[asked].Status(ctx, clients[asked].Endpoints()[0])
			if err != nil {
				return err
			}
			members, err := clients[asked].MemberList(ctx)
			if err != nil {
				return err
			}
			for _, m := range members.Members {
				if m.ID == st.Leader && m.Name != "" && !strings.Contains(strings.Join(not, " "), m.Name) {
					name = m.Name
					return nil
				}
			}
			return fmt.Errorf("it knows none")
		})
		return name
	}
	put := func(c *clientv3.Client, value string) {
		t.Helper()
		retry("put "+value, func(ctx context.Context) error { _, err := c.Put(ctx, "key", value); return err })
	}
	get := func(c *clientv3.Client, want string) {
		t.Helper()
		retry("get "+want, func(ctx context.Context) error {
			r, err := c.Get(ctx, "key")
			if err == nil && (len(r.Kvs) != 1 || string(r.Kvs[0].Value) != want) {
				t.Errorf("read %v, and not %s", r.Kvs, want)
			}
			return err
		})
	}
	put(clients["n1"], "one")
	old := leader("n1")
	var others []string
	for _, name := range names[:3] {
		if name != old {
			others = append(others, name)
		}
	}
	majority := connect(others...)
	get(majority, "one")
	n.Cut(old, "switch")
	next := leader(others[0], old)
	if next == old {
		t.Errorf("%s leads, though it is cut off", old)
	}
	get(majority, "one")
	put(majority, "two")
	get(majority, "two")
	n.Heal(old, "switch")
	get(clients[old], "two")
	if now := leader(old, old); now != next {
		t.Errorf("the old leader takes %s for the leader, the others %s", now, next)
	}
}
