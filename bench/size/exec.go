//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/bench/busy"
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
	for _, loops := range []int{0, runtime.NumCPU()} {
		row, err := execRow(osl, rounds, loops)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func execRow(osl string, rounds, loops int) (string, error) {
	stop, err := busy.Loops(loops)
	if err != nil {
		return "", err
	}
	defer stop()
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
	return fmt.Sprintf("| %d | %.2f ms | %.2f ms | %.2f |", loops, median[0].Seconds()*1e3, median[1].Seconds()*1e3,
		float64(median[0])/float64(median[1])), nil
}
