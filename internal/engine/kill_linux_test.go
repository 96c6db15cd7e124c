package engine_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/base"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// call is a system call that a process is about to make.
type call struct {
	name    string
	changes bool // something that outlives the process
	text    string
	// messages are where those of a send are that change something.
	messages []uint64
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
	// The kernel refuses one message and does the others of a send; then the
	// process is killed on its way back.
	refusedThenKilled way = "a part refused, then killed:"
)

// ways are those of a single call.
var ways = []way{killBefore, killAfter, fails, failsItsWay, doneAndFails, answerLost}

// mishap is what happens to one system call of a process, and, where it is
// refusedThenKilled, at the laterth call after it that changes something.
type mishap struct {
	way   way
	later int
}

// itsWay has what a call may fail with in spite of all rights: something is
// used up or in use.
var itsWay = map[string]syscall.Errno{
	"sendmsg": unix.ENOBUFS, "openat": unix.EMFILE, "socket": unix.EMFILE, "mount": unix.ENOMEM, "umount2": unix.EBUSY, "unlink": unix.EBUSY,
	"unlinkat": unix.EBUSY, "unshare": unix.ENOSPC, "setns": unix.ENOMEM, "mkdirat": unix.ENOSPC, "write": unix.EINVAL, "ioctl": unix.EBUSY,
	"fcntl": unix.ENOLCK, "fchmodat": unix.EROFS,
}

// fits reports whether this can happen to a call. A call that changes nothing
// outside the process can fail; to be killed there is to be killed after the
// last one that does. None that sends to the kernel fails after it did its work.
func (f *mishap) fits(c call) bool {
	switch f.way {
	case killBefore, killAfter, fails:
		return c.changes
	case doneAndFails:
		return c.changes && c.name != "sendmsg"
	case answerLost:
		return c.name == "sendmsg"
	case refusedThenKilled:
		return len(c.messages) > 0
	}
	return itsWay[c.name] != 0
}

func (f *mishap) errno(c call) syscall.Errno {
	switch f.way {
	case failsItsWay:
		return itsWay[c.name]
	case doneAndFails:
		return unix.EIO
	}
	return unix.EPERM
}

func (w way) isKill() bool { return w == killBefore || w == killAfter }

var allKills = flag.Bool("kills.all", false, "fault and kill every operation at each of its system calls; otherwise half of them at two")

// killCount is what came of the points of an operation.
type killCount struct {
	faults, faultsHeld        int
	kills, asBefore, complete int
}

func (c *killCount) add(o killCount) {
	c.faults, c.faultsHeld = c.faults+o.faults, c.faultsHeld+o.faultsHeld
	c.kills, c.asBefore, c.complete = c.kills+o.kills, c.asBefore+o.asBefore, c.complete+o.complete
}

// note counts one point.
func (c *killCount) note(killed bool, s state, held bool) {
	switch {
	case !killed:
		c.faults++
		if held {
			c.faultsHeld++
		}
		return
	case held && s == isBefore:
		c.asBefore++
	case held:
		c.complete++
	}
	c.kills++
}

func (c killCount) String() string {
	return fmt.Sprintf("fault points %d, held %d, not held %d; kills %d, as before %d, complete %d, not held %d", c.faults, c.faultsHeld,
		c.faults-c.faultsHeld, c.kills, c.asBefore, c.complete, c.kills-c.asBefore-c.complete)
}

// Each operation in a process of its own: a system call of it fails, or the
// process dies there. Then all is as before, or as wanted; after a kill, when
// osl recover has run.
func TestKills(t *testing.T) {
	sum, ops := killCount{}, slices.Concat(faultOps(), commandOps(), recoverOps()) // linkKillOps: TestFeatureLinkKills
	if files, _ := filepath.Glob("../../examples/*.yaml"); len(files) == 0 {
		t.Fatal("the examples are not here")
	}
	// Otherwise one half of the operations as root, and the other without.
	half, ran := 0, 0
	if !testnet.IsRoot() {
		half = 1
	}
	for i := range sampled(t, len(ops), *allKills) {
		if i%2 != half && !*allKills {
			continue
		}
		ran++
		t.Run(ops[i].name, func(t *testing.T) {
			if strings.HasSuffix(ops[i].name, " of a tap") {
				testnet.NeedTun(t)
			}
			sum.add(driveKills(t, ops[i], i))
		})
	}
	t.Logf("operations %d, %v", ran, sum)
}

// killPoint is a system call of an operation, and what happens to it.
type killPoint struct {
	way   way
	at    int
	later int
}

// driveKills tries the points of one operation. The number of the operation
// varies the sample.
func driveKills(t *testing.T, op faultOp, number int) (count killCount) {
	k := &killWorld{faultWorld: faultWorld{t: t, op: op}}
	defer k.clear()
	k.prepare()
	begin := k.before
	free := k.trace(t, nil, 0)
	if !free.said.Done {
		t.Fatalf("without a fault: %s %s", free.said.Err, free.noise)
	}
	k.wanted = k.stillFor(200 * time.Millisecond)
	if slices.Equal(begin.kernel, k.wanted.kernel) != strings.HasSuffix(op.name, "that is there") {
		t.Errorf("the operation changes this:\n%s", diff(begin.kernel, k.wanted.kernel))
	}
	k.prepare()
	try := func(p killPoint) (killed bool) {
		r := k.trace(t, &mishap{p.way, p.later}, p.at)
		if r.hit == "" {
			if !r.said.Done {
				t.Errorf("without a fault: %s %s", r.said.Err, r.noise)
			}
			k.prepare() // this run made fewer calls
			return false
		}
		state, problem := k.judge(r)
		k.broken.add(problem, strings.TrimSuffix(fmt.Sprintf("%s call %d, %s: %s", p.way, p.at, r.hit, r.said.Err), ": "))
		count.note(r.killed, state, problem == "")
		if problem != "" || state != isBefore {
			k.prepare()
		}
		return r.killed
	}
	points, refusals := sample(free.calls, number)
	for _, p := range points {
		try(p)
	}
	if op.bulk || op.recovers { // the way back from there is what docs/reliability.md does not promise
		refusals = nil
	}
	for _, p := range refusals {
		// The way back is longest where most was done.
		for p.later = 1; try(p) && *allKills; p.later *= 2 {
		}
	}
	k.broken.report(t)
	t.Log(count)
	return count
}

// sample chooses the points that are tried, and apart from them the refusals
// with a kill: all, or a kill, a fault and a refusal that the number of the
// operation varies.
func sample(calls []call, number int) (points, refusals []killPoint) {
	var kills, faults []killPoint
	for _, w := range ways {
		n := 0
		for _, c := range calls {
			if !(&mishap{way: w}).fits(c) {
				continue
			}
			if n++; w.isKill() {
				kills = append(kills, killPoint{way: w, at: n})
			} else {
				faults = append(faults, killPoint{way: w, at: n})
			}
		}
	}
	n := 0
	for _, c := range calls {
		for i := range c.messages {
			// Of a long send, some.
			if n++; i == len(c.messages)-1 || i%(1+len(c.messages)/8) == 0 {
				refusals = append(refusals, killPoint{way: refusedThenKilled, at: n})
			}
		}
	}
	if *allKills {
		return slices.Concat(kills, faults), refusals
	}
	at := number * 7 % len(kills)
	if number%3 == 0 {
		at = len(kills) - 1 // when all is done
	}
	if len(refusals) > 0 {
		refusals = refusals[number*13%len(refusals):][:1]
	}
	return []killPoint{kills[at], faults[number*11%len(faults)]}, refusals
}

// killWorld is a world in which another process acts.
type killWorld struct {
	faultWorld
	doing          operation
	before, wanted picture
	broken         grouped
}

// prepare makes the world anew and lets go of it: the other process opens what
// it needs itself.
func (k *killWorld) prepare() {
	k.t.Helper()
	k.build()
	k.doing = operation{Name: k.op.name}
	for _, n := range k.open {
		if !k.op.recovers { // to open it does that
			k.doing.Open = append(k.doing.Open, base.NameOf(n.Key()))
		}
		n.Close()
	}
	if k.found != nil {
		k.doing.Found = k.found.SrcName()
	}
	k.open, k.a, k.found = nil, nil, nil
	k.before = k.look()
}

// ran is what became of an operation in a process of its own.
type ran struct {
	traced
	said outcome
}

func (k *killWorld) trace(t *testing.T, f *mishap, at int) ran {
	t.Helper()
	text, err := json.Marshal(k.doing)
	k.must(err)
	r := ran{traced: trace(t, operationEnv+"="+string(text), f, at)}
	if err := json.Unmarshal([]byte(r.result), &r.said); err != nil && !r.killed {
		r.noise += " (it said nothing)"
	}
	return r
}

// state is how the world is found.
type state string

const (
	isBefore state = "as before"
	isWanted state = "as wanted"
	neither  state = "neither"
)

// settle looks until the world is in one of the given states, as settled does.
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
	begun := time.Now()
	p := k.settled(func(p picture) bool {
		// What was found to stay broken is not waited for so long again.
		return is(p) != neither || time.Since(begun) > 300*time.Millisecond && k.broken.knows(k.difference(p, allowed...))
	})
	return is(p), p
}

// judge returns the state after a fault, and what is wrong with it, empty where
// nothing is.
func (k *killWorld) judge(r ran) (s state, problem string) {
	demand := func(what string, allowed ...state) {
		if problem != "" {
			return
		}
		var p picture
		if s, p = k.settle(allowed...); s == neither {
			problem = what + ":\n" + k.difference(p, allowed...)
		}
	}
	recovered := func() {
		if code, text := runCommand("recover"); code != 0 && problem == "" {
			s, problem = neither, "osl recover: "+text
		}
	}
	switch {
	case r.killed && k.op.recovers:
		recovered()
		demand("not recovered", isWanted)
	case r.killed:
		recovered()
		demand("neither as before nor as wanted", isBefore, isWanted)
	case r.said.Done:
		demand("the call succeeded, but it is not as wanted", isWanted)
	case r.said.Err == "":
		return neither, "the process ended by itself: " + r.noise
	case k.op.ends:
		// Some of it may have ended; a second call ended the rest.
		demand(fmt.Sprintf("the call failed, and a second one (%s) did not end it", r.said.Again), isWanted)
	default:
		demand("the call failed, and it is not as before", isBefore)
		recovered()
		demand("the call failed, all was as before, and osl recover changed something", isBefore)
	}
	return s, problem
}
