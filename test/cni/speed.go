package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// inside marks the process that measures, in namespaces of its own.
const inside = "OSL_CNI_SPEED"

// speed measures ADD and DEL of a bridge network with host-local, by the reference
// plugin and by osl-cni in turn: one at a time, many at a time, and with many
// containers there.
func speed(work string, rounds, many int) error {
	if os.Getenv(inside) == "" {
		for _, x := range [][2]string{{"bridge", "./plugins/main/bridge"}} {
			src, err := source(work, "reference")
			if err != nil {
				return err
			}
			if err := command(src, "go", "build", "-mod=mod", "-o", filepath.Join(work, "bin", x[0]), x[1]).Run(); err != nil {
				return err
			}
		}
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := command("", "unshare", "-mn", "--propagation", "slave", exe, "-speed", fmt.Sprint(rounds), "-beside", fmt.Sprint(many))
		cmd.Stdout = os.Stdout
		cmd.Env = append(os.Environ(), inside+"="+work)
		return cmd.Run()
	}
	for _, args := range [][]string{{"mount", "-t", "tmpfs", "none", "/run"}, {"mount", "-t", "tmpfs", "none", "/var/lib"}, {"ip", "link", "set", "lo", "up"}} {
		if err := command("", args[0], args[1:]...).Run(); err != nil {
			return err
		}
	}
	for i := range many + 16 {
		if err := command("", "ip", "netns", "add", fmt.Sprintf("c%d", i)).Run(); err != nil {
			return err
		}
	}
	work = os.Getenv(inside)
	fmt.Printf("%-36s %12s %12s %9s\n", "ADD + DEL, a bridge with host-local", "reference", "osl", "ratio")
	if err := compare(work, "one at a time", 0, 1, rounds); err != nil {
		return err
	}
	if err := compare(work, "16 at a time, each", 0, 16, rounds/4); err != nil {
		return err
	}
	for i := range many {
		if _, err := (side{work, "osl"}).call("ADD", 16+i); err != nil {
			return err
		}
	}
	return compare(work, fmt.Sprintf("one at a time beside %d", many), 0, 1, rounds)
}

// compare prints the median times of both sides, which take turns.
func compare(work, what string, first, atOnce, rounds int) error {
	var times, cpu [2][]time.Duration
	for range rounds {
		for i, name := range []string{"reference", "osl"} {
			began := time.Now()
			var wg sync.WaitGroup
			errs, used := make([]error, atOnce), make([]time.Duration, atOnce)
			for j := range atOnce {
				wg.Go(func() {
					s := side{work, name}
					for _, verb := range []string{"ADD", "DEL"} {
						took, err := s.call(verb, first+j)
						used[j], errs[j] = used[j]+took, cmp.Or(errs[j], err)
					}
				})
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					return err
				}
			}
			times[i] = append(times[i], time.Since(began)/time.Duration(atOnce))
			cpu[i] = append(cpu[i], slices.Max(used))
		}
	}
	for _, x := range []struct {
		what  string
		times [2][]time.Duration
	}{{what, times}, {"  of that on a processor", cpu}} {
		if atOnce > 1 && x.what != what {
			continue
		}
		var median [2]time.Duration
		for i := range x.times {
			slices.Sort(x.times[i])
			median[i] = x.times[i][len(x.times[i])/2]
		}
		fmt.Printf("%-36s %12v %12v %8.1f×\n", x.what, median[0].Round(10*time.Microsecond), median[1].Round(10*time.Microsecond), float64(median[0])/float64(median[1]))
	}
	return nil
}

// side is the plugin of one side.
type side struct{ work, name string }

func (s side) call(verb string, container int) (used time.Duration, err error) {
	bin := map[string]string{"reference": "bridge", "osl": "osl-cni"}[s.name]
	cmd := exec.Command(filepath.Join(s.work, "bin", bin))
	cmd.Env = []string{"CNI_COMMAND=" + verb, fmt.Sprintf("CNI_CONTAINERID=%s%d", s.name, container), "CNI_IFNAME=eth0",
		fmt.Sprintf("CNI_NETNS=/run/netns/c%d", container), "CNI_PATH=" + filepath.Join(s.work, "bin")}
	cmd.Stdin = bytes.NewBufferString(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "n-%s", "type": "bridge", "bridge": "br-%[1]s", "isGateway": true,
		"ipam": {"type": "host-local", "subnet": "10.%[2]d.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}}`, s.name, map[string]int{"reference": 61, "osl": 62}[s.name]))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", s.name, verb, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil // with the IPAM plugin's
}
