//go:build linux

// Package tracer is what the benchmark and those who run it under a tracer agree on.
package tracer

import "golang.org/x/sys/unix"

const (
	// LoopEnv makes the benchmark do the steps of the rows that were asked for a number
	// of times, unmeasured, and nothing else.
	LoopEnv = "OSL_BENCH_LOOP"
	// MarksEnv makes it mark where each step begins and ends.
	MarksEnv = "OSL_BENCH_MARKS"
)

// Begin and End are the sizes of the marks of a step.
func Begin(step int) int { return 1000 + 2*step }
func End(step int) int   { return Begin(step) + 1 }

// Mark makes a system call that fails, a write of a size to nowhere.
func Mark(size int) { _, _ = unix.Write(-1, make([]byte, size)) }

// Runtime are system calls of the Go runtime for itself, whose number depends on the moment.
var Runtime = map[string]bool{"futex": true, "nanosleep": true, "clock_nanosleep": true, "sched_yield": true, "madvise": true,
	"mmap": true, "munmap": true, "rt_sigaction": true, "rt_sigprocmask": true, "rt_sigreturn": true, "sigaltstack": true,
	"getpid": true, "tgkill": true, "clone": true, "clone3": true, "epoll_pwait": true, "epoll_wait": true,
	"restart_syscall": true, "set_robust_list": true, "rseq": true, "mprotect": true, "sched_getaffinity": true}
