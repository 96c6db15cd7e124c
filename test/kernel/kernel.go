package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// metaPackage depends on Debian's stock kernel for virtual machines.
const metaPackage = "linux-image-cloud-amd64"

// modules are what the machine loads at its start; the kernel loads others by
// itself when a link of their kind is made.
var modules = []string{"virtio_pci", "virtio_net", "vmxnet3", "veth", "bridge", "vxlan", "macvlan", "macvtap", "ipvlan",
	"8021q", "dummy", "tun", "ip_vs", "ip_vs_rr"}

// kernel is a Debian kernel package, unpacked.
type kernel struct {
	dir     string
	release string // as uname -r says it
}

func (k kernel) image() string   { return filepath.Join(k.dir, "boot", "vmlinuz-"+k.release) }
func (k kernel) modules() string { return filepath.Join("lib", "modules", k.release) }

// fetchKernel unpacks the kernel package below the cache, unless it is there.
// The machine's own /boot and /lib/modules are not touched.
func fetchKernel(cache string) (kernel, error) {
	name, err := kernelPackage()
	if err != nil {
		return kernel{}, err
	}
	k := kernel{dir: filepath.Join(cache, name), release: strings.TrimPrefix(name, "linux-image-")}
	if _, err := os.Stat(k.image()); err == nil {
		return k, nil
	}
	fmt.Println("fetching", name)
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return k, err
	}
	defer os.RemoveAll(tmp)
	if err := quiet(tmp, "apt-get", "-q", "download", name); err != nil {
		return k, err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return k, fmt.Errorf("apt-get download %s left %v (%v)", name, debs, err)
	}
	root := filepath.Join(tmp, "root")
	if err := quiet(tmp, "dpkg-deb", "-x", debs[0], root); err != nil {
		return k, err
	}
	// The package's own script would do that at its installation.
	if err := quiet(tmp, "busybox", "depmod", "-b", root, k.release); err != nil {
		return k, err
	}
	if err := os.RemoveAll(k.dir); err != nil {
		return k, err
	}
	return k, os.Rename(root, k.dir)
}

// kernelPackage returns the package that the meta package stands for.
func kernelPackage() (string, error) {
	out, err := exec.Command("apt-cache", "depends", metaPackage).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w", metaPackage, err)
	}
	m := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("apt does not know what %s depends on: run apt-get update; it says %q", metaPackage, out)
	}
	return string(m[1]), nil
}

// addModules adds the modules of names, with those that they need.
func (k kernel) addModules(i *image, names []string) error {
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
	for _, n := range names {
		path := byName[n]
		if path == "" {
			return fmt.Errorf("the kernel package has no module %s", n)
		}
		add(path)
	}
	for _, f := range []string{"modules.dep", "modules.alias", "modules.symbols", "modules.builtin"} {
		i.copy(filepath.Join(k.modules(), f), filepath.Join(from, f))
	}
	return nil
}

// needed are programs and the Debian packages that have them.
var needed = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static",
	"ip": "iproute2", "strace": "strace", "nsenter": "util-linux", "setpriv": "util-linux", "unshare": "util-linux", "apt-get": "apt", "dpkg-deb": "dpkg", "ldd": "libc-bin",
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
