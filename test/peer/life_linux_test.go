package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lives are the behaviours of making, opening, using and destroying a sandbox.
var lives = []behaviour{
	{"2", "a plain empty file at the key: opening fails, creating mends it", func(r *run) {
		sb, key := r.sandbox("file")
		r.ok("destroy", sb.destroy())
		setup(os.WriteFile(key, nil, 0o600))
		_, err := r.reopen(key, nil)
		r.fails("open", err)
		sb, err = r.create(key)
		r.ok("create", err)
		r.ok("invoke", sb.invoke(func() {}))
	}},
	{"2", "a named pipe at the key: opening it ends with an error", func(r *run) {
		setup(unix.Mkfifo("/run/pipe", 0o600))
		end := time.AfterFunc(5*time.Second, func() { r.not("it does not end within 5s") })
		_, err := r.reopen("/run/pipe", nil)
		end.Stop()
		r.fails("open", err)
	}},
	{"2", "a symbolic link at the key: the file that it leads to keeps what is in it", func(r *run) {
		setup(os.WriteFile("/run/letter", []byte("dear"), 0o600))
		setup(os.Symlink("/run/letter", "/run/link"))
		_, _ = r.create("/run/link")
		b, _ := os.ReadFile("/run/letter")
		r.same("the file", string(b), "dear")
	}},
	{"1", "a creation that is not permitted leaves no file at the key", func(r *run) {
		if r.step == "create" {
			if _, err := r.create(r.key("denied")); err == nil {
				r.not("create without CAP_SYS_ADMIN: no error")
			}
			ready()
			return
		}
		sb, _ := r.sandbox("first") // makes the directory
		r.ok("destroy", sb.destroy())
		setup(r.child("create", true).Wait())
		if _, err := os.Lstat(r.key("denied")); err == nil {
			r.not("a file is left at the key")
		}
	}},
	{"18a", "Destroy alone sends a virtual link of the host home", func(r *run) {
		sb, _ := r.sandbox("home")
		r.host("va")
		r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		r.ok("destroy", sb.destroy())
		r.nameIsHome("va")
	}},
	{"3", "a second Destroy succeeds", func(r *run) {
		sb, _ := r.sandbox("twice")
		r.ok("destroy", sb.destroy())
		r.ok("the second", sb.destroy())
	}},
	{"3", "Destroy succeeds after someone unmounted the key, and removes the file", func(r *run) {
		sb, key := r.sandbox("unmounted")
		setup(unix.Unmount(key, unix.MNT_DETACH))
		r.ok("destroy", sb.destroy())
		if _, err := os.Lstat(key); err == nil {
			r.not("the file is there")
		}
	}},
	{"3", "Destroy succeeds while a process is in the sandbox", func(r *run) {
		sb, key := r.sandbox("busy")
		cmd := exec.Command("sleep", "60")
		r.ok("invoke", sb.invoke(func() { setup(cmd.Start()) }))
		r.ok("destroy", sb.destroy())
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Lstat(key); err == nil {
			r.not("the file is there")
		}
	}},
	{"10a", "Destroy of an old handle does not touch the sandbox that came after it", func(r *run) {
		old, key := r.sandbox("succ")
		next, err := r.create(key)
		r.ok("create again", err)
		_ = old.destroy()
		r.ok("invoke in the successor", next.invoke(func() {}))
		_, err = r.reopen(key, nil)
		r.ok("open the successor", err)
	}},
	{"10a", "a call on a destroyed handle changes nothing on the host", func(r *run) {
		sb, _ := r.sandbox("gone")
		r.ok("destroy", sb.destroy())
		_ = sb.addAlias("lo", cidr("10.9.9.9/32"))
		l, err := netlink.LinkByName("lo")
		setup(err)
		list, err := netlink.AddrList(l, netlink.FAMILY_V4)
		setup(err)
		for _, a := range list {
			if a.IP.String() == "10.9.9.9" {
				r.not("AddAliasIP of a destroyed sandbox put the address on the host's lo")
			}
		}
	}},
	{"4", "children forked meanwhile inherit no descriptor of a namespace", func(r *run) {
		sb, _ := r.sandbox("fds")
		r.host("va")
		r.host("vb")
		r.added(sb, "vb", "eth", conf{}) // what a package does once in a process
		stop, done := make(chan bool), make(chan string)
		go func() {
			for {
				select {
				case <-stop:
					done <- ""
					return
				default:
				}
				out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
				if err != nil || strings.Contains(string(out), "net:[") || strings.Contains(string(out), "socket:") {
					done <- string(out)
					return
				}
			}
		}()
		for n := range 20 {
			other, _ := r.sandbox(fmt.Sprintf("fds%d", n))
			r.ok("invoke", other.invoke(func() {}))
			r.ok("destroy", other.destroy())
		}
		r.ok("add", sb.add("va", "eth", conf{v4: cidr("10.0.0.2/24")}))
		close(stop)
		if out := <-done; out != "" {
			r.not("%s", out)
		}
	}},
	{"8", "the modes of the directory and of the key's file do not depend on the umask", func(r *run) {
		seen := ""
		for _, mask := range []int{0, 0o077} {
			if r.step == "" {
				// Directories are made once in a process.
				cmd := r.child(fmt.Sprint(mask), false)
				setup(cmd.Wait())
				b, err := os.ReadFile("/run/modes")
				setup(err)
				if seen == "" {
					seen = string(b)
				}
				r.same(fmt.Sprintf("with the umask %03o", mask), string(b), seen)
				continue
			}
			if r.step == fmt.Sprint(mask) {
				unix.Umask(mask)
				sb, key := r.sandbox("modes")
				setup(unix.Unmount(key, unix.MNT_DETACH))
				f, err := os.Lstat(key)
				setup(err)
				d, err := os.Lstat(filepath.Dir(key))
				setup(err)
				_ = sb.destroy()
				_ = os.Remove(key)
				_ = unix.Unmount(filepath.Dir(key), 0) // as ip netns makes it
				setup(os.RemoveAll(filepath.Dir(key)))
				unix.Umask(0)
				setup(os.WriteFile("/run/modes", []byte(d.Mode().String()+" "+f.Mode().String()), 0o600))
				ready()
				return
			}
		}
	}},
	{"1", "GC removes a dead key and leaves the live ones", func(r *run) {
		dead, key := r.sandbox("dead")
		live, _ := r.sandbox("live")
		_ = dead
		setup(unix.Unmount(key, unix.MNT_DETACH))
		if !r.gc() {
			r.missing("there is no GC")
		}
		r.eventually("the dead key is gone", func() bool { _, err := os.Lstat(key); return err != nil })
		r.ok("invoke in the live one", live.invoke(func() {}))
	}},
	{"5", "many threads make, use and destroy sandboxes of their own at once", func(r *run) {
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				for range 3 {
					sb, err := r.create(r.key(fmt.Sprintf("par%d", n)))
					r.ok("create", err)
					r.ok("add a bridge", sb.add("br", "br", conf{bridge: true}))
					r.ok("destroy", sb.destroy())
				}
			})
		}
		wg.Wait()
	}},
	{"12", "the main thread is never moved, and the caller's thread stays at home", func(r *run) {
		home, err := os.Readlink("/proc/self/ns/net")
		setup(err)
		sb, _ := r.sandbox("main")
		for range 50 {
			there := ""
			r.ok("invoke", sb.invoke(func() {
				if unix.Gettid() == unix.Getpid() {
					r.not("the function runs on the main thread")
				}
				there, _ = os.Readlink("/proc/thread-self/ns/net")
			}))
			if there == home || there == "" {
				r.not("the function runs at home")
			}
		}
		r.threadsHome(home)
	}},
	{"11", "a panic in InvokeFunc reaches the caller, and the threads are at home afterwards", func(r *run) {
		home, err := os.Readlink("/proc/self/ns/net")
		setup(err)
		sb, _ := r.sandbox("panic")
		for range 20 {
			func() {
				defer func() {
					if recover() == nil {
						r.not("the panic did not reach the caller")
					}
				}()
				_ = sb.invoke(func() { panic("on purpose") })
			}()
		}
		r.threadsHome(home)
	}},
	{"11", "after runtime.Goexit in InvokeFunc the caller goes on or ends, and the threads are at home", func(r *run) {
		home, err := os.Readlink("/proc/self/ns/net")
		setup(err)
		sb, _ := r.sandbox("goexit")
		for range 20 {
			done := make(chan bool)
			go func() {
				defer close(done)
				_ = sb.invoke(func() { runtime.Goexit() })
			}()
			<-done
		}
		r.threadsHome(home)
	}},
	{"10b", "a nil route, a nil alias and a nil neighbour are refused without a panic", func(r *run) {
		sb, _ := r.sandbox("nils")
		r.fails("AddAliasIP(lo, nil)", sb.addAlias("lo", nil))
		r.fails("AddNeighbor(nil, nil)", sb.addNeighbor(nil, nil, "", 0))
		r.fails("AddStaticRoute(nil)", sb.addRoute(nil))
	}},
	{"10b", "an id with a slash or of two dots names no file outside of the directory", func(r *run) {
		dir := filepath.Dir(r.key("one"))
		for _, id := range []string{"..", "../../x", "a/b"} {
			if key := r.key(id); key != "" && filepath.Dir(filepath.Clean(key)) != dir {
				r.not("the id %q has the key %s", id, key)
			}
		}
	}},
	{"6", "the namespace of a process can be pinned as a sandbox", func(r *run) {
		sb, key := r.sandbox("outer")
		r.host("va")
		second, err := r.adopt(key, filepath.Join(filepath.Dir(key), "inner"))
		r.ok("adopt", err)
		r.added(second, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		r.same("links in the namespace", r.linksIn(key), "eth0")
		_ = sb
	}},
}

// threadsHome demands that every thread is in the namespace home, or gone, soon.
func (r *run) threadsHome(home string) {
	time.Sleep(10 * time.Millisecond)
	r.eventually("every thread is at home", func() bool {
		tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
		for _, t := range tasks {
			if ns, err := os.Readlink(t); err == nil && ns != home {
				return false
			}
		}
		return true
	})
}
