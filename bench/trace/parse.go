//go:build linux

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed59451c2b/osl/bench/tracer"
)

// call is a system call: what it does, and how long that takes.
type call struct {
	name, text string
	µs         float64
}

// own reports whether a system call is one of the Go runtime for itself.
func own(name string) bool {
	return tracer.Runtime[name] || name == "epoll_ctl" || name == "eventfd2" || name == "timer_settime"
}

var (
	straceLine = regexp.MustCompile(`^(\d+) +(<\.\.\. )?(\w+)(.*)$`)
	markLine   = regexp.MustCompile(`^\(-1, .*, (\d+)`)
	anyString  = regexp.MustCompile(`(?:\\x[0-9a-f]{2})+`)
	zeroEnd    = regexp.MustCompile(`\s*(?:= .*)?$`)
)

// fromStrace returns the calls of each time of a step.
func fromStrace(text string, s step) [][]call {
	w := window{step: s}
	for line := range strings.Lines(text) {
		m := straceLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || m[2] != "" || own(m[3]) { // of one that is cut in two the beginning tells
			continue
		}
		if mark := markLine.FindStringSubmatch(m[4]); m[3] == "write" && mark != nil {
			w.mark(mark[1], m[1])
			continue
		}
		if w.sees(m[1]) {
			w.now = append(w.now, call{name: m[3], text: m[3] + readable(m[4])})
		}
	}
	return w.all
}

// window collects the calls of a step.
type window struct {
	step
	in     bool
	thread string // that began
	now    []call
	all    [][]call
}

func (w *window) sees(thread string) bool { return w.in && (!w.alone || thread == w.thread) }

// mark begins or ends the step. One that goes from thread to thread has not all of its
// calls on the first.
func (w *window) mark(size, thread string) {
	switch n, _ := strconv.Atoi(size); n {
	case tracer.Begin(w.number):
		w.in, w.thread, w.now = true, thread, nil
	case tracer.End(w.number):
		if w.sees(thread) {
			w.all = append(w.all, w.now)
		}
		w.in = false
	}
}

// shorter takes out of arguments what tells nothing.
var shorter = []struct {
	text *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`<socket:\[\d+\]>`), ""},
	{regexp.MustCompile(`AT_FDCWD<[^>]*>, `), ""},
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "…"},
	{regexp.MustCompile(`\{msg_name=.*iov_base="([^"]*)".*`), "$1)"},
	{regexp.MustCompile(`, \{(?:st|f)_.*|, \[*\{nlmsg_len.*`), ")"},
	{regexp.MustCompile(`\{l_type=(\w+).*`), "$1)"},
}

// readable says the arguments of a call in short: paths as they are, netlink by its
// messages.
func readable(args string) string {
	args, _, open := strings.Cut(args, " <unfinished")
	args = anyString.ReplaceAllStringFunc(args, func(s string) string {
		b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
		switch {
		case err != nil:
			return s
		case len(b) >= 16 && binary.NativeEndian.Uint32(b) >= 16 && b[3] == 0:
			return messages(b)
		}
		return strings.TrimRight(string(b), "\x00\n")
	})
	for _, x := range shorter {
		args = x.text.ReplaceAllString(args, x.by)
	}
	args = zeroEnd.ReplaceAllString(args, "")
	if open {
		args = strings.TrimRight(args, ", ") + ")"
	}
	if i := strings.IndexFunc(args, func(r rune) bool { return r < ' ' || r == utf8.RuneError }); i >= 0 {
		args = args[:i] + "…"
	}
	if len(args) > 110 {
		args = args[:110] + "…"
	}
	return args
}

var types = map[uint16]string{2: "ACK", 3: "DONE", 16: "NEWLINK", 17: "DELLINK", 18: "GETLINK", 20: "NEWADDR", 21: "DELADDR", 22: "GETADDR",
	24: "NEWROUTE", 25: "DELROUTE", 26: "GETROUTE", 28: "NEWNEIGH", 29: "DELNEIGH", 30: "GETNEIGH", 34: "GETRULE",
	80: "NEWNETCONF", 82: "GETNETCONF", 94: "GETSTATS", 106: "GETNEXTHOP", 108: "NEWLINKPROP", 109: "DELLINKPROP"}

// messages names the messages of a send or of an answer.
func messages(b []byte) string {
	count := map[string]int{}
	var order []string
	for len(b) >= 16 {
		size := int(binary.NativeEndian.Uint32(b))
		if size < 16 || size > len(b) {
			break
		}
		typ, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		name, known := types[typ]
		if !known {
			name = fmt.Sprint("type ", typ)
		}
		if flags&0x300 == 0x300 && strings.HasPrefix(name, "GET") {
			name += " of all"
		}
		if count[name]++; count[name] == 1 {
			order = append(order, name)
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	for i, name := range order {
		if count[name] > 1 {
			order[i] = fmt.Sprintf("%s ×%d", name, count[name])
		}
	}
	return strings.Join(order, ", ")
}

var (
	perfLine = regexp.MustCompile(`^ *([\d.]+) \( *([\d.]+)? *(?:ms)?\): *\S+?/(\d+) +(?:\.\.\. \[continued\]: )?(\w+)\((.*)$`)
	perfMark = regexp.MustCompile(`^fd: -1, .*count: (\d+)`)
)

// fromPerf returns the calls of each time of a step, with their times, less what a call
// takes that fails at once.
func fromPerf(text string, s step) [][]call {
	w := window{step: s}
	var nothing []float64
	begun := map[string]int{} // by thread, those whose end comes later
	for line := range strings.Lines(text) {
		m := perfLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil || own(m[4]) {
			continue
		}
		ms, _ := strconv.ParseFloat(m[2], 64)
		if mark := perfMark.FindStringSubmatch(m[5]); m[4] == "write" && mark != nil {
			nothing = append(nothing, 1000*ms)
			w.mark(mark[1], m[3])
			clear(begun)
			continue
		}
		switch continued := strings.Contains(line, "[continued]"); {
		case !w.sees(m[3]):
		case continued:
			if i, is := begun[m[3]]; is && i < len(w.now) && w.now[i].name == m[4] {
				w.now[i].µs = 1000 * ms
			}
		default:
			if m[2] == "" {
				begun[m[3]] = len(w.now)
			}
			w.now = append(w.now, call{name: m[4], µs: 1000 * ms})
		}
	}
	least := median(nothing)
	for _, calls := range w.all {
		for i := range calls {
			calls[i].µs = max(0, calls[i].µs-least)
		}
	}
	return w.all
}

// withTimes returns the calls of one time, that which was seen most often with perf, each with
// the median of its times then; where the order is another each time, with the mean of what
// has the same name, so that the sum is right.
func withTimes(all, timed [][]call) []call {
	var calls []call
	var same [][]call
	for _, one := range all {
		like := slices.DeleteFunc(slices.Clone(timed), func(t []call) bool {
			return !slices.EqualFunc(t, one, func(a, b call) bool { return a.name == b.name })
		})
		if calls == nil || len(like) > len(same) {
			calls, same = one, like
		}
	}
	named := map[string][]float64{}
	for _, t := range timed {
		for _, c := range t {
			named[c.name] = append(named[c.name], c.µs)
		}
	}
	for i := range calls {
		var at []float64
		for _, t := range same {
			at = append(at, t[i].µs)
		}
		calls[i].µs = median(at)
		if len(same) < 5 {
			calls[i].µs = mean(named[calls[i].name])
		}
	}
	return calls
}

func mean(list []float64) (m float64) {
	for _, x := range list {
		m += x / float64(len(list))
	}
	return m
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
