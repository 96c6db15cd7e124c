package main

import (
	"net"
	"slices"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

// lab is a daemon and what a script saw of it.
type lab struct {
	*machine
	story
}

// wanted is a container: its networks are those by name, the first one as it starts.
type wanted struct {
	name  string
	mode  string // of its network; "" is the first of the networks
	net   string
	end   network.EndpointSettings
	host  container.HostConfig
	ports []string // "8080:80/tcp"
	cmd   string
}

// run makes a container and starts it.
func (l *lab) run(w wanted) {
	l.T.Helper()
	if err := l.start(w); err != nil {
		l.T.Fatalf("start %s: %v", w.name, err)
	}
}

func (l *lab) start(w wanted) error {
	ctx := l.T.Context()
	if w.cmd == "" {
		w.cmd = "httpd -p 80 -h /www; exec sleep 7200"
	}
	exposed, bound, err := nat.ParsePortSpecs(w.ports)
	if err != nil {
		return err
	}
	config := &container.Config{Image: image, Cmd: []string{"/bin/sh", "-c", w.cmd}, Env: []string{"PATH=/bin"}, StopSignal: "SIGKILL", ExposedPorts: exposed}
	w.host.NetworkMode, w.host.PortBindings = container.NetworkMode(w.mode), bound
	var ends *network.NetworkingConfig
	if w.net != "" {
		w.host.NetworkMode = container.NetworkMode(w.net)
		ends = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{w.net: &w.end}}
	}
	c, err := l.ContainerCreate(ctx, config, &w.host, ends, nil, w.name)
	if err != nil {
		return err
	}
	return l.ContainerStart(ctx, c.ID, types.ContainerStartOptions{})
}

// network makes a network.
func (l *lab) network(name, driver string, options map[string]string, subnets ...string) {
	l.T.Helper()
	c := types.NetworkCreate{Driver: driver, Options: options, IPAM: &network.IPAM{Driver: "default"}, CheckDuplicate: true}
	for _, s := range subnets {
		ip, _, err := net.ParseCIDR(s)
		if err != nil {
			l.T.Fatal(err)
		}
		c.EnableIPv6 = c.EnableIPv6 || ip.To4() == nil
		c.IPAM.Config = append(c.IPAM.Config, network.IPAMConfig{Subnet: s})
	}
	if _, err := l.NetworkCreate(l.T.Context(), name, c); err != nil {
		l.T.Fatalf("network %s: %v", name, err)
	}
}

// must fails the test on an error.
func (l *lab) must(what string, err error) {
	l.T.Helper()
	if err != nil {
		l.T.Fatalf("%s: %v", what, err)
	}
}

// remove takes containers away.
func (l *lab) remove(names ...string) {
	l.T.Helper()
	for _, name := range names {
		l.must("remove "+name, l.ContainerRemove(l.T.Context(), name, types.ContainerRemoveOptions{Force: true}))
	}
}

// within runs a command in a container by the daemon, and returns what it says.
func (l *lab) within(name string, argv ...string) string {
	l.T.Helper()
	ctx := l.T.Context()
	x, err := l.ContainerExecCreate(ctx, name, types.ExecConfig{Cmd: argv, AttachStdout: true, AttachStderr: true, Tty: true})
	l.must("exec in "+name, err)
	io, err := l.ContainerExecAttach(ctx, x.ID, types.ExecStartCheck{Tty: true})
	l.must("exec in "+name, err)
	defer io.Close()
	var b strings.Builder
	_, err = io.Reader.WriteTo(&b)
	l.must("exec in "+name, err)
	return b.String()
}

// reach makes sure that a container finds others, or none of them.
func (l *lab) reach(finds bool, from string, to ...string) {
	l.T.Helper()
	for _, x := range to {
		if said := l.within(from, "ping", "-c1", "-W3", x); strings.Contains(said, " 0% packet loss") != finds {
			l.T.Errorf("%s finds %s is not %v: %s", from, x, finds, said)
		}
	}
}

// fetch makes sure that a server answers at an address, to who is at a place.
func (l *lab) fetch(in []string, host, port string) {
	l.T.Helper()
	const get = `exec 3<>/dev/tcp/$0/$1; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3`
	if said, err := l.try(append(slices.Clone(in), "timeout", "5", "bash", "-c", get, host, port)...); err != nil || !strings.HasSuffix(said, "here\n") {
		l.T.Errorf("%v at %s:%s: %v: %s", in, host, port, err, said)
	}
}

// fetchWithin makes sure that a server answers a container.
func (l *lab) fetchWithin(name, host string) {
	l.T.Helper()
	if said := l.within(name, "sh", "-c", `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 `+host+" 80"); !strings.HasSuffix(strings.TrimSpace(said), "here") {
		l.T.Errorf("%s in %s: %s", host, name, said)
	}
}

// see looks at the machine and at containers.
func (l *lab) see(step string, containers ...string) {
	l.T.Helper()
	l.machine.look(&l.story, step+": host", nil)
	for _, c := range containers {
		l.machine.look(&l.story, step+": "+c, l.inside(c))
	}
	l.note(step+": pinned", l.pinned())
}
