package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// TestSwarm has two machines in a swarm, and containers of each on a network that is
// laid over both, which the daemon keeps in sandboxes of its own.
func TestSwarm(t *testing.T) {
	both(t, func(l *lab) {
		ctx := l.T.Context()
		far := &lab{machine: l.neighbor(), story: story{}}
		_, err := l.SwarmInit(ctx, swarm.InitRequest{ListenAddr: "192.0.2.1:2377", AdvertiseAddr: "192.0.2.1"})
		l.must("swarm init", err)
		s, err := l.SwarmInspect(ctx)
		l.must("swarm inspect", err)
		l.must("swarm join", far.SwarmJoin(ctx, swarm.JoinRequest{ListenAddr: "192.0.2.2:2377", AdvertiseAddr: "192.0.2.2",
			RemoteAddrs: []string{"192.0.2.1:2377"}, JoinToken: s.JoinTokens.Worker}))
		l.Eventually("two nodes are ready", func() bool {
			nodes, err := l.NodeList(ctx, types.NodeListOptions{})
			return err == nil && len(nodes) == 2 && !slices.ContainsFunc(nodes, func(n swarm.Node) bool { return n.Status.State != swarm.NodeStateReady })
		})
		net, err := l.NetworkCreate(ctx, "over", types.NetworkCreate{Driver: "overlay", Attachable: true, CheckDuplicate: true,
			IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "10.9.0.0/24"}}}})
		l.must("network", err)
		at := func(ip string) network.EndpointSettings {
			return network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: ip}}
		}
		l.run(wanted{name: "near", net: "over", end: at("10.9.0.10")})
		far.run(wanted{name: "far", net: "over", end: at("10.9.0.20")})
		l.run(wanted{name: "third", net: "over", end: at("10.9.0.30")})
		for _, x := range []struct {
			*lab
			from string
			to   []string
		}{{l, "near", []string{"10.9.0.20", "10.9.0.30", "far"}}, {far, "far", []string{"10.9.0.10", "10.9.0.30", "third"}}} {
			for _, to := range x.to { // the one daemon tells the other in its time
				x.Eventually(x.from+" finds "+to, func() bool {
					return strings.Contains(x.within(x.from, "ping", "-c1", "-W3", to), " 0% packet loss")
				})
			}
		}
		l.over("over", net.ID)
		far.over("over, far", net.ID)
		l.see("over", "near", "third")
		l.must("disconnect", l.NetworkDisconnect(ctx, "over", "third", false))
		l.must("connect", l.NetworkConnect(ctx, "over", "third", &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.9.0.40"}}))
		far.Eventually("far finds third at its new address", func() bool {
			return strings.Contains(far.within("far", "ping", "-c1", "-W3", "10.9.0.40"), " 0% packet loss")
		})
		l.over("moved", net.ID)
		far.over("moved, far", net.ID)
		one := uint64(1)
		_, err = l.ServiceCreate(ctx, swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "service"}, Mode: swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &one}},
			TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: image, Command: []string{"/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"}},
				Placement: &swarm.Placement{Constraints: []string{"node.role==manager"}}},
			EndpointSpec: &swarm.EndpointSpec{Ports: []swarm.PortConfig{{TargetPort: 80, PublishedPort: 8088, PublishMode: swarm.PortConfigPublishModeIngress},
				{TargetPort: 80, PublishedPort: 8089, PublishMode: swarm.PortConfigPublishModeHost}}}}, types.ServiceCreateOptions{})
		l.must("service", err)
		l.Eventually("the service runs", func() bool {
			tasks, err := l.TaskList(ctx, types.TaskListOptions{})
			return err == nil && slices.ContainsFunc(tasks, func(x swarm.Task) bool { return x.Status.State == swarm.TaskStateRunning })
		})
		l.fetch(out, "192.0.2.1", "8089")
		l.machine.look(&l.story, "service: ingress", []string{"nsenter", "--net=/run/docker/netns/ingress_sbox"})
		l.see("service")
		l.must("service rm", l.ServiceRemove(ctx, "service"))
		l.remove("near", "third")
		far.remove("far")
		l.Eventually("the service is gone", func() bool {
			list, err := l.ContainerList(ctx, types.ContainerListOptions{All: true})
			return err == nil && len(list) == 0
		})
		l.see("end")
		for _, what := range far.what {
			for _, line := range far.lines[what] {
				l.note(what, line)
			}
		}
	})
}

// over writes down the sandboxes in which the daemon has the network with an id, and the
// one of the ingress.
func (l *lab) over(step, id string) {
	l.T.Helper()
	keys := strings.Fields(l.do("sh", "-c", fmt.Sprintf("ls -d /run/docker%s/netns/[0-9]-*", l.at)))
	l.note(step+": sandboxes", fmt.Sprint(len(keys)))
	for _, key := range keys {
		in, name := []string{"nsenter", "--net=" + key}, step+": ingress"
		if strings.HasSuffix(key, "-"+id[:10]) {
			name = step + ": overlay"
		}
		l.machine.look(&l.story, name, in)
		fdb := strings.Split(l.do(append(in, "bridge", "fdb", "show")...), "\n")
		ends := slices.DeleteFunc(fdb, func(line string) bool { return !strings.Contains(line, " dst ") })
		slices.Sort(ends)
		l.note(name+": ends of the tunnel", strings.Join(ends, "\n"))
	}
}
