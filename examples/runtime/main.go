//go:build linux

// Command runtime is a runtime of containers in a page: it starts a program in
// namespaces of its own, with a network of osl's, and without root.
//
//	runtime sh -c 'ip addr; ping -c1 10.0.0.1'
//	runtime -tap sh -c 'vmm --tap-fd 3'
//
// With -tap it does what is wanted for a virtual machine: the network is a tap, of
// which the program has the descriptor 3.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"github.com/seed59451c2b/osl"
)

func main() {
	err := errors.New("runtime [-tap] PROGRAM…")
	switch args := os.Args[1:]; {
	case len(args) > 1 && args[0] == "inside":
		err = inside(context.Background(), args[1:])
	case len(args) > 0:
		err = outside(args)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtime:", err)
		os.Exit(1)
	}
}

// outside starts this program once more, as root of a user namespace that has a host's
// network of its own. It takes everything along when it ends, however it does.
func outside(args []string) error {
	cmd := exec.Command("/proc/self/exe", append([]string{"inside"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

func inside(ctx context.Context, args []string) error {
	// The keys are below /run: here nobody else sees them.
	if err := syscall.Mount("run", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	osl.SetBasePath("/run")
	spec := pair
	if args[0] == "-tap" {
		spec, args = tap, args[1:]
	}

	// What follows is all of it: a sandbox, its network, and a program in it.
	n, err := osl.Create(ctx, "app")
	if err != nil {
		return err
	}
	defer n.Close()
	if _, err := n.Apply(ctx, spec); err != nil {
		return errors.Join(err, n.Destroy())
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if spec.Interfaces[0].Type == "tap" {
		queue, err := n.OpenTun("tap0")
		if err != nil {
			return errors.Join(err, n.Destroy())
		}
		defer queue.Close()
		// The program's descriptor 3. It may be one that waits in read, as most do.
		cmd.ExtraFiles = []*os.File{queue}
		if err := syscall.SetNonblock(int(queue.Fd()), false); err != nil {
			return errors.Join(err, n.Destroy())
		}
	}
	// A process is born in the network of the thread that makes it.
	err = n.Do(ctx, func(context.Context) error { return cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	return errors.Join(err, n.Destroy())
}

// pair is a network like a container's: a veth, whose other end is on the host.
var pair = osl.Spec{
	Interfaces: []osl.InterfaceSpec{{
		Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "app0"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
	}},
	Gateway: netip.MustParseAddr("10.0.0.1"),
}

// tap is one like a virtual machine's. The hardware address is that of the kernel's
// side; the guest has another one.
var tap = osl.Spec{
	Interfaces: []osl.InterfaceSpec{{
		Name: "tap0", Type: "tap", MAC: osl.MAC{2, 0, 0, 0, 0, 1}, MTU: 1400, TxQueueLen: new(256),
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.1.1/24"), netip.MustParsePrefix("fd00::1/64")},
	}},
}
