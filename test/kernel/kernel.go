package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kernels are Debian's stock kernels by their version, and the suites that have
// them. The package depends on the newest build.
var kernels = []struct {
	version string
	suites  []string
}{
	{"6.1", []string{"http://deb.debian.org/debian bookworm", "http://deb.debian.org/debian-security bookworm-security"}},
	{"6.12", []string{backports}},
}

const backports = "http://deb.debian.org/debian bookworm-backports"

const (
	metaPackage = "linux-image-amd64"
	keyring     = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// modules are what the machine loads at its start; the kernel loads others by
// itself when a link of their kind is made.
var modules = []string{"virtio_pci", "virtio_net", "vmxnet3", "veth", "bridge", "vxlan", "macvlan", "macvtap", "ipvlan",
	"8021q", "dummy", "tun", "ip_vs", "ip_vs_rr"}

// optional are modules of features that a kernel may lack.
var optional = []string{"ipvtap", "bonding", "vrf", "ifb", "vcan", "geneve", "ip_gre", "ip6_gre", "ipip", "ip6_tunnel", "sit", "wireguard",
	"sch_netem", "sch_tbf", "sch_ingress", "act_mirred", "cls_u32", "cls_matchall", "nf_tables", "nft_masq", "nft_chain_nat", "nf_conntrack", "crc32c_generic"}

// kernel is a Debian kernel package, unpacked.
type kernel struct {
	dir     string
	release string // as uname -r says it
}

func (k kernel) image() string   { return filepath.Join(k.dir, "boot", "vmlinuz-"+k.release) }
func (k kernel) modules() string { return filepath.Join("lib", "modules", k.release) }

// apt is apt with sources and lists of its own, so that the machine's stay as they
// are and say nothing.
type apt struct{ dir string }

func newApt(dir string, suites []string) (apt, error) {
	a := apt{dir}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return a, err
		}
	}
	var sources strings.Builder
	for _, s := range suites {
		fmt.Fprintf(&sources, "deb [signed-by=%s] %s main\n", keyring, s)
	}
	if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte(sources.String()), 0o644); err != nil {
		return a, err
	}
	return a, quiet(dir, "apt-get", a.args("update")...)
}

func (a apt) args(args ...string) []string {
	return append([]string{"-q", "-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"), "-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(a.dir, "cache")}, args...)
}

// fetchKernel unpacks the kernel package of a version below the cache, unless it is
// there. The machine's own /boot and /lib/modules are not touched.
func fetchKernel(cache, version string) (k kernel, err error) {
	i := slices.IndexFunc(kernels, func(k struct {
		version string
		suites  []string
	}) bool {
		return k.version == version
	})
	if i < 0 {
		return k, fmt.Errorf("no kernel %q is known", version)
	}
	k.dir = filepath.Join(cache, "linux-"+version)
	if b, err := os.ReadFile(filepath.Join(k.dir, "release")); err == nil {
		k.release = string(b)
		return k, nil
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return k, err
	}
	defer os.RemoveAll(tmp)
	a, err := newApt(filepath.Join(tmp, "apt"), kernels[i].suites)
	if err != nil {
		return k, err
	}
	name, err := a.kernelPackage()
	if err != nil {
		return k, err
	}
	fmt.Println("fetching", name)
	k.release = strings.TrimPrefix(name, "linux-image-")
	root, err := a.unpack(tmp, name)
	if err != nil {
		return k, err
	}
	// busybox loads modules that are not packed.
	if err := quiet(root, "sh", "-c", "find . -name '*.ko.xz' -print0 | xargs -0r -n 64 xz -d"); err != nil {
		return k, err
	}
	// The package's own script would do that at its installation.
	if err := quiet(tmp, "busybox", "depmod", "-b", root, k.release); err != nil {
		return k, err
	}
	if err := os.WriteFile(filepath.Join(root, "release"), []byte(k.release), 0o644); err != nil {
		return k, err
	}
	if err := os.RemoveAll(k.dir); err != nil {
		return k, err
	}
	return k, os.Rename(root, k.dir)
}

// unpack downloads a package, and returns the directory below tmp with its files.
func (a apt) unpack(tmp, name string) (root string, err error) {
	if err := quiet(tmp, "apt-get", a.args("download", name)...); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %v (%v)", name, debs, err)
	}
	root = filepath.Join(tmp, "root")
	return root, quiet(tmp, "dpkg-deb", "-x", debs[0], root)
}

// fetchNewer returns the path of an ip of a later Debian, which is unpacked below the cache
// unless it is there: it knows what this one's does not, such as netkit.
func fetchNewer(cache string) (ip string, err error) {
	dir := filepath.Join(cache, "iproute2")
	ip = filepath.Join(dir, "bin", "ip")
	if _, err := os.Stat(ip); err == nil {
		return ip, nil
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	a, err := newApt(filepath.Join(tmp, "apt"), []string{backports})
	if err != nil {
		return "", err
	}
	root, err := a.unpack(tmp, "iproute2")
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return ip, os.Rename(root, dir)
}

// kernelPackage returns the package that the meta package stands for.
func (a apt) kernelPackage() (string, error) {
	out, err := exec.Command("apt-cache", a.args("depends", metaPackage)...).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w", metaPackage, err)
	}
	m := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("apt does not know what %s depends on; it says %q", metaPackage, out)
	}
	return string(m[1]), nil
}

// addModules adds the modules of names, with those that they need, and those of
// more that the kernel has.
func (k kernel) addModules(i *image, names, more []string) error {
	from := filepath.Join(k.dir, k.modules())
	b, err := os.ReadFile(filepath.Join(from, "modules.dep"))
	if err != nil {
		return err
	}
	needs := map[string][]string{} // path: paths
	byName := map[string]string{}
	for line := range strings.Lines(string(b)) {
		path, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		needs[path] = strings.Fields(deps)
		byName[strings.TrimSuffix(filepath.Base(path), ".ko")] = path
	}
	var add func(path string)
	add = func(path string) {
		i.copy(filepath.Join(k.modules(), path), filepath.Join(from, path))
		for _, d := range needs[path] {
			add(d)
		}
	}
	builtin, err := os.ReadFile(filepath.Join(from, "modules.builtin"))
	if err != nil {
		return err
	}
	for n, name := range slices.Concat(names, more) {
		path := byName[name]
		if path == "" && (n >= len(names) || bytes.Contains(builtin, []byte("/"+name+".ko\n"))) {
			continue
		}
		if path == "" {
			return fmt.Errorf("the kernel package has no module %s", name)
		}
		add(path)
	}
	for _, f := range []string{"modules.dep", "modules.alias", "modules.symbols", "modules.builtin"} {
		i.copy(filepath.Join(k.modules(), f), filepath.Join(from, f))
	}
	return nil
}

// frr is where the routers of examples/frr are.
const frr = "/usr/lib/frr/"

// needed are programs and the Debian packages that have them.
var needed = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static",
	"ip": "iproute2", "bridge": "iproute2", "tc": "iproute2", "ethtool": "ethtool", "strace": "strace", "nsenter": "util-linux", "setpriv": "util-linux", "unshare": "util-linux", "flock": "util-linux", "wg": "wireguard-tools",
	frr + "zebra": "frr", frr + "bgpd": "frr",
	"apt-get": "apt", "dpkg-deb": "dpkg", "ldd": "libc-bin", "xz": "xz-utils",
}

// installNeeded installs what is missing, as root; others are told what to do.
func installNeeded() error {
	var missing []string
	for program, pkg := range needed {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	// A busybox that needs libraries could not start the machine.
	if path, err := exec.LookPath("busybox"); err == nil {
		if out, _ := exec.Command("ldd", path).CombinedOutput(); bytes.Contains(out, []byte("=>")) {
			missing = append(missing, "busybox-static")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("these Debian packages are missing, install them as root: %s", strings.Join(missing, " "))
	}
	fmt.Println("installing", strings.Join(missing, " "))
	if err := quiet("/", "apt-get", "-q", "update"); err != nil {
		return err
	}
	return quiet("/", "apt-get", append([]string{"-qy", "--no-install-recommends", "install"}, missing...)...)
}

// quiet runs a command in dir; what it prints is in the error if it fails.
func quiet(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// cacheDir is where the kernel and the image are kept.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w", err)
	}
	dir := filepath.Join(base, "osl-kernel-test")
	return dir, os.MkdirAll(dir, 0o755)
}
