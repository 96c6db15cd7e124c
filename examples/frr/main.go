//go:build linux

// Command frr brings up a network file and runs FRR in its routers: zebra and bgpd of
// Debian's package frr, in each sandbox NAME for which there is a configuration
// DIRECTORY/NAME.conf, where the directory has the file's name without its ending. What
// they write is in a directory that goes with them.
//
//	go run ./examples/frr examples/frr/bgp.yaml
//
// It says when all checks of the file hold, which is when routing has converged, and
// takes everything down when it is interrupted. It needs root: FRR changes to a user of
// its own.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/oslfile"
)

// programs is where Debian's package has FRR's.
const programs = "/usr/lib/frr"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := errors.New("frr FILE")
	if len(os.Args) == 2 {
		err = run(ctx, os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "frr:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) error {
	l, err := start(ctx, file)
	if err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	err = l.converge(patience)
	cancel()
	if err == nil {
		fmt.Println("all checks hold")
		<-ctx.Done()
	}
	return errors.Join(err, l.stop())
}

// lab is a network that is up, with routers that run.
type lab struct {
	network osl.Network
	dir     string
	daemons []*daemon
}

// daemon is a program that runs in a sandbox.
type daemon struct {
	*exec.Cmd
	said bytes.Buffer
}

// start brings a network up and starts its routers.
func start(ctx context.Context, file string) (*lab, error) {
	network, err := oslfile.LoadNetwork(file)
	if err != nil {
		return nil, err
	}
	if _, err := osl.Apply(ctx, network); err != nil {
		return nil, err
	}
	l := &lab{network: network}
	if err := l.routers(ctx, strings.TrimSuffix(file, filepath.Ext(file))); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	return l, nil
}

// routers starts those that have a configuration in a directory.
func (l *lab) routers(ctx context.Context, confs string) (err error) {
	if l.dir, err = os.MkdirTemp("", "frr"); err != nil {
		return err
	}
	for i := range l.network.Sandboxes {
		name := l.network.Sandboxes[i].Name
		conf, err := os.ReadFile(filepath.Join(confs, name+".conf"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = l.router(ctx, name, conf)
		}
		if err != nil {
			return fmt.Errorf("start the router %s: %w", name, err)
		}
	}
	return nil
}

// router starts the programs of one router.
func (l *lab) router(ctx context.Context, name string, conf []byte) error {
	dir := filepath.Join(l.dir, name)
	if err := ownedByFRR(l.dir, dir); err != nil {
		return err
	}
	ns, err := osl.Open(ctx, name)
	if err != nil {
		return err
	}
	defer ns.Close()
	for _, program := range []string{"zebra", "bgpd"} {
		file := filepath.Join(dir, program+".conf")
		if program == "zebra" { // it does not know what is bgpd's
			err = os.WriteFile(file, nil, 0o644)
		} else {
			err = os.WriteFile(file, conf, 0o644)
		}
		if err != nil {
			return err
		}
		// Who interrupts wants them to end in order: stop does that.
		d := &daemon{Cmd: ns.Command(context.WithoutCancel(ctx), filepath.Join(programs, program), "--config_file", file, "--socket", filepath.Join(dir, "zserv"),
			"--pid_file", filepath.Join(dir, program+".pid"), "--vty_socket", dir, "--log", "stdout", "--log-level", "warnings")}
		d.Stdout, d.Stderr = &d.said, &d.said
		if err := d.Start(); err != nil {
			return err
		}
		l.daemons = append(l.daemons, d)
	}
	return nil
}

// ownedByFRR makes a directory that FRR's user can write, below one that it can enter.
func ownedByFRR(above, dir string) error {
	u, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("%w: install Debian's package frr", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return errors.Join(os.Chmod(above, 0o755), os.Mkdir(dir, 0o755), os.Chown(dir, uid, gid))
}

// converge waits until all checks of the network hold.
func (l *lab) converge(ctx context.Context) error {
	for {
		_, err := oslfile.RunChecks(ctx, l.network)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w%s", context.Cause(ctx), err, l.words())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// words are what the programs said.
func (l *lab) words() string {
	var b strings.Builder
	for _, d := range l.daemons {
		fmt.Fprintf(&b, "\n%s: %s", strings.Join(d.Args[len(d.Args)-11:], " "), d.said.Bytes())
	}
	return b.String()
}

// stop ends the routers, and takes the network down.
func (l *lab) stop() error {
	for _, d := range l.daemons {
		_ = d.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	for _, d := range l.daemons {
		_ = d.Wait() // by a signal
	}
	_, err := osl.Down(context.Background(), l.network)
	return errors.Join(err, os.RemoveAll(l.dir))
}
