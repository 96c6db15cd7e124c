package engine_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// traced is what became of a process that was followed.
type traced struct {
	calls  []call // that it made between its two marks, as far as the filter shows them
	hit    string // the call that the fault hit, "" where the process made fewer
	killed bool   // by the fault
	result string // what it wrote to its standard output
	noise  string // and to standard error, and how it ended
}

// hangs is how long a process may make no call that is shown before it counts as one that
// hangs: the whole of it may take longer, on a machine that has no time for it.
const hangs = 60 * time.Second

// trace runs the test binary again, in these namespaces, follows all of its
// threads, and at the Nth call that a fault fits lets it happen. The calls are
// counted over the whole process. A nil fault only looks.
//
// The process shows its calls by a filter of its own (trapCalls), so that it
// runs at full speed in between.
func trace(t *testing.T, env string, f *mishap, at int) traced {
	t.Helper()
	// All of ptrace, and the waiting, is a matter of one thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, noise, null := memory(t), memory(t), open0(t)
	defer out.Close()
	defer noise.Close()
	defer null.Close()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"osl.test"}, &syscall.ProcAttr{
		Env:   append(os.Environ(), env),
		Files: []uintptr{null.Fd(), out.Fd(), noise.Fd()},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("a process may not trace its own child here: nothing can be killed at a system call")
	}
	if err != nil {
		t.Fatal(err)
	}
	f2 := &follower{pid: pid, fault: f, at: at}
	f2.idle = time.AfterFunc(hangs, func() { _ = unix.Kill(pid, unix.SIGKILL) })
	end := f2.follow()
	if !f2.idle.Stop() {
		end = fmt.Sprintf("it hung for %v", hangs)
	}
	if f2.mem != nil {
		f2.mem.Close()
	}
	return traced{calls: f2.calls, hit: f2.hit, killed: f2.killed, result: content(out), noise: content(noise) + end}
}

// follower is the tracer of one process.
type follower struct {
	pid     int
	fault   *mishap
	at      int
	mem     *os.File
	idle    *time.Timer
	begun   bool
	options bool
	calls   []call
	seen    int // calls that the fault fits
	hit     string
	killed  bool
	lost    uint64 // the socket whose next answer is lost, plus one
	// after is what is to happen when a thread's call returns.
	after map[int]func(tid int)
	// again has the threads whose call the kernel begins anew by itself.
	again map[int]bool
}

// follow runs until the process is gone, and says how it ended where that is
// not by itself.
func (f *follower) follow() string {
	f.after, f.again = map[int]func(int){}, map[int]bool{}
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		if err == unix.EINTR {
			continue
		}
		if f.idle.Stop() { // else it hangs, and this is its end
			f.idle.Reset(hangs)
		}
		if err != nil {
			return fmt.Sprintf("wait: %v", err)
		}
		switch {
		case ws.Exited() || ws.Signaled():
			if tid != f.pid {
				continue
			}
			if ws.Signaled() {
				return fmt.Sprintf("it died of %v", ws.Signal())
			}
			return ""
		case ws.Stopped():
			f.stopped(tid, ws)
		}
	}
}

func (f *follower) stopped(tid int, ws unix.WaitStatus) {
	signal := 0
	switch sig := ws.StopSignal(); {
	case !f.options: // the first stop, after exec
		f.options = true
		_ = unix.PtraceSetOptions(tid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACESECCOMP|
			unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEFORK|unix.PTRACE_O_TRACEVFORK|unix.PTRACE_O_TRACEEXEC)
	case ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		if f.shown(tid) {
			_ = unix.PtraceSyscall(tid, 0)
			return
		}
	case sig == unix.SIGTRAP|0x80:
		f.returned(tid)
	case sig == unix.SIGTRAP || sig == unix.SIGSTOP: // an event, or a new thread
	default:
		signal = int(sig)
	}
	_ = unix.PtraceCont(tid, signal) // a thread that was killed meanwhile is gone
}

// shown looks at a call that is about to happen, and does what the fault says.
// It reports whether to stop when the call returns.
func (f *follower) shown(tid int) bool {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) != nil {
		return false
	}
	if r.Orig_rax == unix.SYS_GETPRIORITY {
		f.begun = !f.begun
		return false
	}
	if !f.begun {
		return false
	}
	if r.Orig_rax == unix.SYS_RECVFROM {
		if f.lost == r.Rdi+1 {
			f.lost = 0
			failCall(tid, r, unix.ENOBUFS)
		}
		return false
	}
	c, ok := f.read(r)
	if !ok {
		return false
	}
	if f.again[tid] {
		delete(f.again, tid)
		return true
	}
	f.calls = append(f.calls, c)
	if f.hit != "" && f.fault.way == refusedThenKilled && c.changes {
		if f.fault.later--; f.fault.later == 0 {
			f.hit += ", then " + c.text
			f.kill(0)
		}
		return true
	}
	if f.fault == nil || f.hit != "" || !f.fault.fits(c) {
		return true
	}
	if f.fault.way == refusedThenKilled {
		i := f.at - f.seen - 1
		if f.seen += len(c.messages); f.seen < f.at {
			return true
		}
		f.hit = c.text + fmt.Sprintf(" (message %d of %d)", i+1, len(c.messages))
		// No such message: the kernel refuses it and does the others.
		_, _ = unix.PtracePokeData(tid, uintptr(c.messages[i]+4), binary.NativeEndian.AppendUint16(nil, unix.RTM_NEWLINK|0x0ff0))
		return true
	}
	if f.seen++; f.seen < f.at {
		return true
	}
	f.hit = c.text
	switch f.fault.way {
	case killBefore:
		f.kill(0)
	case killAfter:
		f.after[tid] = f.kill
	case answerLost:
		f.lost = r.Rdi + 1
	case doneAndFails:
		f.after[tid] = func(tid int) {
			var r unix.PtraceRegs
			if unix.PtraceGetRegs(tid, &r) == nil {
				r.Rax = -uint64(f.fault.errno(c))
				_ = unix.PtraceSetRegs(tid, &r)
			}
		}
	default:
		failCall(tid, r, f.fault.errno(c))
		return false
	}
	return true
}

// returned is called when a call is over. A setting whose lock is taken makes
// the kernel begin the call anew, which is no new call.
func (f *follower) returned(tid int) {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) != nil {
		return
	}
	// ERESTARTSYS and its kin, of linux/errno.h.
	if code := -int64(r.Rax); code >= 512 && code <= 516 {
		f.again[tid] = true
		return
	}
	if do := f.after[tid]; do != nil {
		delete(f.after, tid)
		do(tid)
	}
}

func (f *follower) kill(int) {
	f.killed = true
	_ = unix.Kill(f.pid, unix.SIGKILL)
}

// failCall keeps the kernel from doing a call that is about to happen.
func failCall(tid int, r unix.PtraceRegs, errno syscall.Errno) {
	r.Orig_rax, r.Rax = ^uint64(0), -uint64(errno)
	_ = unix.PtraceSetRegs(tid, &r)
}

// read tells what a call is. It is false for one that is of no interest.
func (f *follower) read(r unix.PtraceRegs) (call, bool) {
	for _, s := range shownCalls {
		if uint64(s.number) != r.Orig_rax || s.read == nil {
			continue
		}
		return s.read(f, s.name, [4]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10})
	}
	return call{}, false
}

// bytes reads the process's memory, as far as it is there.
func (f *follower) bytes(at, length uint64) []byte {
	if f.mem == nil {
		var err error
		if f.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", f.pid)); err != nil {
			return nil
		}
	}
	b := make([]byte, min(length, 1<<17))
	n, _ := f.mem.ReadAt(b, int64(at))
	return b[:n]
}

func (f *follower) path(at uint64) string {
	b := f.bytes(at, 4096)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func (f *follower) descriptor(fd uint64) string {
	to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", f.pid, int32(fd)))
	return to
}

// trapCalls makes the process stop at the calls of shownCalls, from now on and
// on all of its threads, where it is traced; otherwise they would fail.
func trapCalls() error {
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the number, see struct seccomp_data
	for i, s := range shownCalls {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: s.number, Jt: uint8(len(shownCalls) - i)})
	}
	prog = append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE})
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// mark tells the tracer that the operation begins, and that it has ended, by a
// call that nothing else makes.
func mark() { _, _, _ = unix.Syscall(unix.SYS_GETPRIORITY, 0, 0, 0) }

// memory is a file that is nowhere.
func memory(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "output")
}

func content(f *os.File) string {
	b := make([]byte, 1<<16)
	n, _ := f.ReadAt(b, 0)
	return string(b[:n])
}

func open0(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
