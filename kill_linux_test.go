package osl

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// call is a system call that a process is about to make.
type call struct {
	name    string
	changes bool // something beyond the process itself
	text    string
}

// way is what happens to a system call.
type way string

const (
	killBefore   way = "killed before"
	killAfter    way = "killed after"
	fails        way = "EPERM from"          // the kernel does nothing
	failsItsWay  way = "error of its own of" // the kernel does nothing, for a reason that this call knows
	doneAndFails way = "EIO after the work of"
	answerLost   way = "answer lost of"
)

var ways = []way{killBefore, killAfter, fails, failsItsWay, doneAndFails, answerLost}

// fault is what happens to one system call of a process.
type fault struct{ way way }

// itsWay has what a call may fail with in spite of all rights: something is
// used up or in use.
var itsWay = map[string]syscall.Errno{
	"sendmsg": unix.ENOBUFS, "openat": unix.EMFILE, "socket": unix.EMFILE, "mount": unix.ENOMEM, "umount2": unix.EBUSY, "unlink": unix.EBUSY,
	"unlinkat": unix.EBUSY, "unshare": unix.ENOSPC, "setns": unix.ENOMEM, "mkdirat": unix.ENOSPC, "write": unix.EINVAL, "ioctl": unix.EBUSY,
	"fcntl": unix.ENOLCK, "fchmodat": unix.EROFS,
}

// fits reports whether this can happen to a call. A call that changes nothing
// can fail; to be killed there is to be killed after the last one that does.
// No call that moves a thread, locks, or sends to the kernel fails after it did
// its work.
func (f *fault) fits(c call) bool {
	switch f.way {
	case killBefore, killAfter, fails:
		return c.changes
	case doneAndFails:
		return c.changes && !slices.Contains([]string{"sendmsg", "setns", "unshare", "fcntl"}, c.name)
	case answerLost:
		return c.name == "sendmsg"
	}
	return itsWay[c.name] != 0
}

func (f *fault) errno(c call) syscall.Errno {
	switch f.way {
	case failsItsWay:
		return itsWay[c.name]
	case doneAndFails:
		return unix.EIO
	}
	return unix.EPERM
}

func (w way) isKill() bool { return w == killBefore || w == killAfter }

var allKills = flag.Bool("kills.all", false, "fault and kill an operation at each of its system calls; otherwise at a few")

// killCount is what came of the points of an operation.
type killCount struct {
	faults, faultsHeld        int
	kills, asBefore, complete int
}

func (c *killCount) add(o killCount) {
	c.faults, c.faultsHeld = c.faults+o.faults, c.faultsHeld+o.faultsHeld
	c.kills, c.asBefore, c.complete = c.kills+o.kills, c.asBefore+o.asBefore, c.complete+o.complete
}

func (c killCount) String() string {
	return fmt.Sprintf("fault points %d, held %d, not held %d; kills %d, as before %d, complete %d, not held %d", c.faults, c.faultsHeld,
		c.faults-c.faultsHeld, c.kills, c.asBefore, c.complete, c.kills-c.asBefore-c.complete)
}

// Each operation in a process of its own: a system call of it fails, or the
// process dies there. Then all is as before, or as wanted; after a kill, when
// osl recover has run.
func TestKills(t *testing.T) {
	sum, ops := killCount{}, killOps()
	for i, op := range ops {
		t.Run(op.name, func(t *testing.T) { sum.add(driveKills(t, op, i)) })
	}
	t.Logf("operations %d, %v", len(ops), sum)
}

// killPoint is a system call of an operation, and what happens to it.
type killPoint struct {
	way way
	at  int
}

// driveKills tries the points of one operation. The number of the operation
// varies the sample.
func driveKills(t *testing.T, op faultOp, number int) (count killCount) {
	k := &killWorld{faultWorld: faultWorld{t: t, op: op}}
	defer k.clear()
	k.prepare()
	begin := k.before
	free := k.trace(t, nil, 0)
	if free.result != saysDone {
		t.Fatalf("without a fault: %s%s", free.result, free.noise)
	}
	k.wanted = k.still()
	if slices.Equal(begin.kernel, k.wanted.kernel) != strings.HasSuffix(op.name, "that is there") {
		t.Errorf("the operation changes this:\n%s", diff(begin.kernel, k.wanted.kernel))
	}
	k.prepare()
	broken := grouped{}
	for _, p := range sample(free.calls, number) {
		r := k.trace(t, &fault{p.way}, p.at)
		if r.hit == "" {
			if r.result != saysDone {
				t.Errorf("without a fault: %s%s", r.result, r.noise)
			}
			k.prepare() // this run made fewer calls
			continue
		}
		state, problem := k.judge(r)
		broken.add(problem, fmt.Sprintf("%s call %d, %s", p.way, p.at, r.hit))
		switch {
		case !p.way.isKill():
			count.faults++
			if problem == "" {
				count.faultsHeld++
			}
		default:
			count.kills++
			if problem == "" && state == isBefore {
				count.asBefore++
			} else if problem == "" {
				count.complete++
			}
		}
		if problem != "" || state != isBefore {
			k.prepare()
		}
	}
	broken.report(t)
	t.Log(count)
	return count
}

// sample chooses the points that are tried, all or a few that the number of the
// operation varies.
func sample(calls []call, number int) (points []killPoint) {
	for _, w := range ways {
		n := 0
		for _, c := range calls {
			if (&fault{w}).fits(c) {
				n++
				points = append(points, killPoint{w, n})
			}
		}
	}
	if *allKills || len(points) == 0 {
		return points
	}
	var few []killPoint
	many := 3
	if testing.Short() {
		many = 1
	}
	for i := range many {
		few = append(few, points[(number*7+i*len(points)/many)%len(points)])
	}
	return few
}

// grouped is what did not hold, each with the points where.
type grouped struct {
	order []string
	at    map[string][]string
}

func (p *grouped) add(problem, point string) {
	if problem == "" {
		return
	}
	if p.at == nil {
		p.at = map[string][]string{}
	}
	if p.at[problem] == nil {
		p.order = append(p.order, problem)
	}
	p.at[problem] = append(p.at[problem], point)
}

func (p *grouped) report(t *testing.T) {
	t.Helper()
	for _, problem := range p.order {
		t.Errorf("%s\n%s", strings.Join(p.at[problem], "\n"), problem)
	}
}

// killWorld is a world in which another process acts.
type killWorld struct {
	faultWorld
	doing          operation
	before, wanted picture
}

// prepare makes the world anew and lets go of it: the other process opens what
// it needs itself.
func (k *killWorld) prepare() {
	k.t.Helper()
	k.build()
	k.doing = operation{Name: k.op.name}
	for _, n := range k.open {
		k.doing.Open = append(k.doing.Open, nameOf(n.key))
		n.Close()
	}
	if k.found != nil {
		k.doing.Found = k.found.SrcName()
	}
	k.open, k.a, k.found = nil, nil, nil
	k.before = k.still()
}

func (k *killWorld) trace(t *testing.T, f *fault, at int) traced {
	t.Helper()
	text, err := json.Marshal(k.doing)
	k.must(err)
	r := trace(t, operationEnv+"="+string(text), f, at)
	r.result = strings.TrimSpace(r.result)
	return r
}

// state is how the world is found.
type state string

const (
	isBefore state = "as before"
	isWanted state = "as wanted"
	neither  state = "neither"
)

// find looks until the world is in one of the given states, as settled does.
func (k *killWorld) settle(allowed ...state) (state, picture) {
	is := func(p picture) state {
		switch {
		case slices.Contains(allowed, isBefore) && slices.Equal(p.kernel, k.before.kernel) && p.info == k.before.info:
			return isBefore
		case slices.Contains(allowed, isWanted) && slices.Equal(anew(p.kernel), anew(k.wanted.kernel)) && p.info == k.wanted.info:
			return isWanted
		}
		return neither
	}
	p := k.settled(func(p picture) bool { return is(p) != neither })
	return is(p), p
}

// judge returns the state after a fault, and what is wrong with it, empty where
// nothing is.
func (k *killWorld) judge(r traced) (state, string) {
	message, failed := strings.CutPrefix(r.result, saysFailed)
	switch {
	case r.killed:
		if code, text := runCommand("recover"); code != 0 {
			return neither, "osl recover: " + text
		}
		s, p := k.settle(isBefore, isWanted)
		if s == neither {
			return s, "neither as before nor as wanted:\n" + k.difference(p, isBefore, isWanted)
		}
		return s, ""
	case r.result == saysDone:
		s, p := k.settle(isBefore, isWanted)
		if s == isBefore && slices.Equal(k.before.kernel, k.wanted.kernel) {
			s = isWanted
		}
		if s != isWanted {
			return neither, "the call succeeded, and it is not as wanted:\n" + k.difference(p, isWanted)
		}
		return s, ""
	case !failed:
		return neither, fmt.Sprintf("the process ended without a word: %s%s", r.result, r.noise)
	case k.op.ends:
		return k.judgeEnd(message)
	}
	s, p := k.settle(isBefore)
	if s != isBefore {
		return s, fmt.Sprintf("the call returned %q, and it is not as before:\n%s", message, k.difference(p, isBefore))
	}
	if code, text := runCommand("recover"); code != 0 {
		return neither, "osl recover, after an error: " + text
	}
	if s, p = k.settle(isBefore); s != isBefore {
		return s, fmt.Sprintf("after the error, osl recover changed something:\n%s", k.difference(p, isBefore))
	}
	return s, ""
}

// judgeEnd judges an operation that ends something, and failed: what is left is
// as before, or a second call ends it.
func (k *killWorld) judgeEnd(message string) (state, string) {
	k.t.Helper()
	s, p := k.settle(isBefore, isWanted)
	if s != neither {
		return s, ""
	}
	if names := k.doing.Open; len(names) > 0 {
		// A handle of the sandbox itself can not be had any more where it is gone.
		if _, err := os.Lstat(filepath.Join("/run/netns", names[0])); err != nil {
			return s, fmt.Sprintf("the call returned %q, the sandbox is gone:\n%s", message, k.difference(p, isWanted))
		}
	}
	if again := k.trace(k.t.(*testing.T), nil, 0); again.result != saysDone {
		return s, fmt.Sprintf("the call returned %q, a second one %s%s", message, again.result, again.noise)
	}
	if s, p = k.settle(isWanted); s != isWanted {
		return s, fmt.Sprintf("the call returned %q; it is not as wanted after a second one:\n%s", message, k.difference(p, isWanted))
	}
	return s, ""
}

// difference tells how the world differs from the nearest of some states.
func (k *killWorld) difference(p picture, states ...state) (least string) {
	for _, s := range states {
		goal := k.before
		if s == isWanted {
			goal = k.wanted
		}
		now, then := p.kernel, goal.kernel
		if s == isWanted {
			now, then = anew(now), anew(then)
		}
		d := string(s) + ", but\n" + diff(then, now)
		if goal.info != p.info {
			d += diff(strings.Split("Info: "+strings.ReplaceAll(goal.info, "\n", "\nInfo: "), "\n"), strings.Split("Info: "+strings.ReplaceAll(p.info, "\n", "\nInfo: "), "\n"))
		}
		if least == "" || strings.Count(d, "\n") < strings.Count(least, "\n") {
			least = d
		}
	}
	return least
}
