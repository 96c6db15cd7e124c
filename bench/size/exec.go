//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// execRows is how long a command inside a sandbox takes that does nothing, by osl and
// by ip in turns: on this machine as it is, and beside a busy loop for each processor.
func execRows(dir string, rounds int) (rows []string, err error) {
	osl := filepath.Join(dir, "osl")
	if _, err := command(0, osl, "create", "x"); err != nil {
		return nil, err
	}
	defer func() {
		if _, rerr := command(0, osl, "rm", "x"); err == nil {
			err = rerr
		}
	}()
	for _, busy := range []int{0, runtime.NumCPU()} {
		row, err := execRow(osl, rounds, busy)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func execRow(osl string, rounds, busy int) (string, error) {
	var loops []*exec.Cmd
	defer func() {
		for _, l := range loops {
			_ = l.Process.Kill() // it ends in no other way
			_ = l.Wait()
		}
	}()
	for range busy {
		l := exec.Command("sh", "-c", "while :; do :; done")
		if err := l.Start(); err != nil {
			return "", err
		}
		loops = append(loops, l)
	}
	var took [2][]time.Duration
	for range rounds {
		for i, args := range [][]string{{osl, "exec", "x", "--", "true"}, {"ip", "netns", "exec", "x", "true"}} {
			m, err := command(0, args...)
			if err != nil {
				return "", err
			}
			took[i] = append(took[i], m.took)
		}
	}
	var median [2]time.Duration
	for i := range took {
		slices.Sort(took[i])
		median[i] = took[i][rounds/2]
	}
	return fmt.Sprintf("| %d | %.2f ms | %.2f ms | %.2f |", busy, median[0].Seconds()*1e3, median[1].Seconds()*1e3,
		float64(median[0])/float64(median[1])), nil
}
