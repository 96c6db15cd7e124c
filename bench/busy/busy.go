//go:build linux

// Package busy keeps processors busy, for what is measured on a machine that has other
// things to do.
package busy

import "os/exec"

// Loops starts n processes that each use a processor, until stop is called.
func Loops(n int) (stop func(), err error) {
	var loops []*exec.Cmd
	stop = func() {
		for _, l := range loops {
			_ = l.Process.Kill() // it ends in no other way
			_ = l.Wait()
		}
	}
	for range n {
		l := exec.Command("sh", "-c", "while :; do :; done")
		if err := l.Start(); err != nil {
			stop()
			return nil, err
		}
		loops = append(loops, l)
	}
	return stop, nil
}
