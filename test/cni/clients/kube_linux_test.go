package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

// cluster is what Kubernetes needs of the machine: an address of the node, shared
// mounts, and files in the place of the settings of the whole kernel that it insists on.
const cluster = `
set -e
mount --make-rshared /
mkdir -p /var/lib/kubelet
for d in /var/log /var/lib/kubelet; do mount -t tmpfs new $d; done
ip addr add 192.0.2.1/32 dev lo
mkdir -p /run/kube/set
for x in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	file=/run/kube/set/$(echo ${x%=*} | tr / .)
	echo ${x#*=} >$file
	mount --bind $file /proc/sys/${x%=*}
done
openssl genrsa -out /run/kube/sa.key 2048 2>/dev/null
echo 'token,admin,1,system:masters' >/run/kube/tokens.csv
`

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: token}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
`

// kubelet has no control groups: the machine shares those of its host.
const kubelet = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
oomScoreAdj: 0
featureGates: {KubeletInUserNamespace: true}
localStorageCapacityIsolation: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
makeIPTablesUtilChains: false
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
resolvConf: ""
syncFrequency: 1s
volumePluginDir: /run/kube/plugins
`

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      enableServiceLinks: false
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers: [{name: box, image: "docker.io/local/box:1", imagePullPolicy: Never}]
`

// node is a machine that is a whole Kubernetes of one node.
type node struct {
	*machine
	bin  string
	kill func() // containerd
}

func newNode(t *testing.T) *node {
	for _, name := range []string{"containerd", "crun", "etcd", "openssl"} {
		need(t, name)
	}
	list := testmachine.InstalledOf("kube", "kubelet")
	if len(list) == 0 {
		t.Skip("Kubernetes is not installed: test/cni/clients/install all does that")
	}
	n := &node{machine: newMachine(t), bin: filepath.Dir(list[len(list)-1])}
	n.do("sh", "-c", cluster)
	n.write("/run/kube/config", kubeconfig)
	n.write("/run/kube/kubelet.yaml", kubelet)
	n.write("/run/kube/web.yaml", deployment)
	n.env = append(n.env, "KUBECONFIG=/run/kube/config")
	n.kill = n.containerd()
	t.Cleanup(func() { n.kill() })
	n.image("docker.io/local/box:1")
	n.do("ctr", "-n", "k8s.io", "images", "import", "/run/image.tar")
	n.run("etcd", "--data-dir", "/run/etcd")
	n.run(n.bin+"/kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", "--secure-port=6443",
		"--cert-dir=/run/kube/pki", "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://lab",
		"--service-account-key-file=/run/kube/sa.key", "--service-account-signing-key-file=/run/kube/sa.key", "--disable-admission-plugins=ServiceAccount",
		"--token-auth-file=/run/kube/tokens.csv", "--authorization-mode=RBAC", "--kubelet-preferred-address-types=InternalIP")
	n.Eventually("the API server is ready", func() bool { _, err := n.kubectl("get", "--raw", "/readyz"); return err == nil })
	n.run(n.bin+"/kube-controller-manager", "--kubeconfig=/run/kube/config", "--leader-elect=false", "--service-account-private-key-file=/run/kube/sa.key",
		"--cert-dir=/run/kube/manager", "--flex-volume-plugin-dir=/run/kube/plugins")
	n.run(n.bin+"/kube-scheduler", "--kubeconfig=/run/kube/config", "--authentication-kubeconfig=/run/kube/config", "--authorization-kubeconfig=/run/kube/config",
		"--leader-elect=false", "--cert-dir=/run/kube/scheduler")
	n.run(n.bin+"/kubelet", "--config=/run/kube/kubelet.yaml", "--kubeconfig=/run/kube/config", "--cert-dir=/run/kube/kubelet",
		"--hostname-override=node", "--node-ip=192.0.2.1")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := n.command(context.Background(), "sh", "-c", "tail -n 12 /var/log/*.log; tail /opt/calls; "+n.bin+"/kubectl describe pods | tail -n 30").CombinedOutput()
			t.Log(string(out))
		}
	})
	n.Eventually("the node is ready", func() bool {
		out, err := n.kubectl("get", "nodes")
		return err == nil && strings.Contains(out, " Ready ")
	})
	n.do(n.bin+"/kubectl", "apply", "-f", "/run/kube/web.yaml")
	return n
}

// run starts a program that ends with the test, and has a log.
func (n *node) run(argv ...string) {
	n.T.Helper()
	log := "/var/log/" + filepath.Base(argv[0]) + ".log"
	n.T.Cleanup(n.start(append([]string{"sh", "-c", `exec "$@" >` + log + ` 2>&1`, "sh"}, argv...)...))
}

func (n *node) kubectl(args ...string) (string, error) {
	return n.try(append([]string{n.bin + "/kubectl"}, args...)...)
}

// scale has the deployment have so many pods, and returns them: each name with its
// addresses. Where calls are killed the kubelet tries again, later each time.
func (n *node) scale(count int) (pods map[string][]string) {
	n.T.Helper()
	n.do(n.bin+"/kubectl", "scale", "deployment", "web", fmt.Sprintf("--replicas=%d", count))
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				PodIPs            []struct{ IP string }
				ContainerStatuses []struct{ Ready bool }
			}
		}
	}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := n.kubectl("get", "pods", "-o", "json")
		list.Items = nil
		if err == nil {
			err = json.Unmarshal([]byte(out), &list)
		}
		pods = map[string][]string{}
		for _, p := range list.Items {
			for _, c := range p.Status.ContainerStatuses {
				for _, ip := range p.Status.PodIPs {
					if c.Ready {
						pods[p.Metadata.Name] = append(pods[p.Metadata.Name], ip.IP)
					}
				}
			}
		}
		if err == nil && len(pods) == count && len(list.Items) == count {
			return pods
		}
		if time.Now().After(end) {
			n.T.Fatalf("%d of %d pods, %d ready; %v", len(list.Items), count, len(pods), err)
		}
	}
}

// neighbours has each pod find each other one by both families.
func (n *node) neighbours(pods map[string][]string) {
	n.T.Helper()
	var wg sync.WaitGroup
	turn := make(chan struct{}, 4)
	for name, own := range pods {
		var to []string
		for other, ips := range pods {
			if len(ips) != 2 {
				n.T.Fatalf("a pod has the addresses %v", ips)
			}
			if other != name {
				to = append(to, ips...)
			}
		}
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			const each = `for a in "$@"; do ping -c1 -W5 $a >/dev/null || echo "no answer of $a"; done; echo $#`
			out, err := n.kubectl(append([]string{"exec", name, "--", "sh", "-c", each, "sh"}, to...)...)
			if err != nil || strings.TrimSpace(out) != fmt.Sprint(len(to)) {
				n.T.Errorf("%s at %v: %v: %s", name, own, err, out)
			}
		})
	}
	wg.Wait()
}

// calls is how often osl-cni was called with a verb, or killed.
func (n *node) calls(what string) int {
	b, err := os.ReadFile(n.File("/opt/calls"))
	if err != nil {
		n.T.Fatal(err)
	}
	return strings.Count("\n"+string(b), "\n"+what)
}

// A Kubernetes of one node has thirty pods, and none again, twice: each reaches each other
// one, and nothing is left; then the same while osl-cni, or containerd, is killed at moments
// of chance.
func TestKubernetes(t *testing.T) {
	const count = 30
	n := newNode(t)
	n.scale(1)
	n.scale(0) // the bridge stays
	n.Eventually("the pod's namespace is gone", func() bool { return !strings.Contains(n.traces(), "/run/netns/") })
	before := n.traces()
	for range 2 {
		n.neighbours(n.scale(count))
		n.scale(0)
		n.sameWithin(time.Minute, "thirty pods", before)
	}
	adds, dels := n.calls("ADD "), n.calls("DEL ")
	heal := n.killNow("ADD")
	pods := n.scale(count)
	heal()
	n.neighbours(pods)
	heal = n.killNow("DEL")
	n.scale(0)
	heal()
	// The kubelet looks once a minute for what it could not remove.
	n.sameWithin(4*time.Minute, "thirty pods, with osl-cni killed", before)
	t.Logf("for %d pods ADD was called %d times and killed %d times, DEL %d and %d", count, n.calls("ADD ")-adds, n.calls("killed ADD"), n.calls("DEL ")-dels, n.calls("killed DEL"))
	if n.calls("killed ADD") == 0 || n.calls("killed DEL") == 0 {
		t.Error("no call was killed")
	}

	killed := 0
	for _, to := range []int{count, 0} {
		heal = n.killDaemon(&killed)
		pods = n.scale(to)
		heal()
		n.neighbours(pods)
	}
	n.sameWithin(4*time.Minute, "thirty pods, with containerd killed", before)
	t.Logf("containerd was killed %d times", killed)
}

// killDaemon has containerd killed at moments of chance, and started again, and counts
// how often. It returns what ends that.
func (n *node) killDaemon(times *int) (heal func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(rand.Int64N(int64(6 * time.Second)))): //nolint:gosec // any will do
			}
			n.kill()
			n.kill = n.containerd()
			*times++
		}
	})
	return func() { close(done); wg.Wait() }
}

// killNow has osl-cni killed, where it is called with a verb, at moments of chance; not
// every time, so that some calls end. It returns what ends that.
func (n *node) killNow(verb string) (heal func()) {
	name, done := "/opt/kill-"+verb, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			n.write("/opt/next", fmt.Sprintf("%.4f", rand.Float64()/4)) //nolint:gosec // any will do
			if err := os.Rename(n.File("/opt/next"), n.File(name)); err != nil {
				n.T.Error(err)
			}
			select {
			case <-done:
				if err := os.Remove(n.File(name)); err != nil {
					n.T.Error(err)
				}
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() { close(done); wg.Wait() }
}
