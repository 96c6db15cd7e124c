// Package check tries what must hold in a network that is up: an ICMP echo, a
// TCP connection, a UDP echo, from inside a sandbox.
package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
)

// Enter runs f on a thread that is in a sandbox's network namespace, and
// waits for it. Sockets that f opens belong to the sandbox from then on,
// whichever thread uses them.
type Enter func(f func()) error

// DefaultTimeout is how long a check may take that does not say.
const DefaultTimeout = 3 * time.Second

// A check that waits longer than this was mistyped.
const maxTimeout = 10 * time.Minute

// What can come of a check, and be expected of it.
const (
	OK          = "ok"
	Refused     = "refused"
	Unreachable = "unreachable"
	Timeout     = "timeout"
	failed      = "error" // the check itself could not be made
)

// Outcomes are what a check can expect.
var Outcomes = []string{OK, Refused, Unreachable, Timeout}

// Result is what came of one check.
type Result struct {
	From   string `json:"from"`
	Check  string `json:"check"`
	Expect string `json:"expect"`
	Result string `json:"result"`
	// Passed reports whether Result is what was expected.
	Passed bool `json:"passed"`
	// Seconds is the round trip of an answer, and how long it was tried if
	// there was none.
	Seconds float64 `json:"seconds"`
	// Detail is what the system said.
	Detail string `json:"detail,omitempty"`
	// cut says that it was given up before its time was over, since the context ended.
	cut bool
}

// Cut reports whether a check was given up before its time was over, since the context ended.
func Cut(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.cut })
}

// Invalid is a check that can't be made as it is written.
type Invalid struct {
	Index int    // of the check
	Field string // its name in the file, empty for the whole check
	Text  string
}

func (e *Invalid) Error() string { return fmt.Sprintf("check %d: %s", e.Index+1, e.Text) }

// Is makes it an osl.ErrInvalid.
func (e *Invalid) Is(target error) bool { return target == osl.ErrInvalid }

// Path is where in a file it is.
func (e *Invalid) Path() string {
	return strings.TrimSuffix(fmt.Sprintf("checks[%d].%s", e.Index, e.Field), ".")
}

// Validate returns an *Invalid for the first check that can't be made.
func Validate(checks []osl.Check) error {
	for i, c := range checks {
		if field, text := invalid(c); text != "" {
			return &Invalid{Index: i, Field: field, Text: text}
		}
	}
	return nil
}

// ValidateFile is Validate for the checks of a file, which are of its sandboxes.
func ValidateFile(network osl.Network) error {
	if err := Validate(network.Checks); err != nil {
		return err
	}
	names := []string{osl.HostName}
	for _, s := range network.Sandboxes {
		names = append(names, s.Name)
	}
	for i, c := range network.Checks {
		for _, of := range [...][2]string{{"from", c.From}, {"to", c.To}} {
			if name := of[1]; name != "" && !slices.Contains(names, name) {
				return &Invalid{Index: i, Field: of[0], Text: fmt.Sprintf("the file has no sandbox %q%s", name, near.Hint(name, names))}
			}
		}
	}
	return nil
}

func invalid(c osl.Check) (field, text string) {
	targets := 0
	for _, given := range []bool{c.Ping.IsValid(), c.TCP.IsValid(), c.UDP.IsValid()} {
		if given {
			targets++
		}
	}
	if targets != 1 {
		return "", "a check has exactly one of ping, tcp and udp"
	}
	if c.To != "" && c.Ping.IsValid() {
		return "to", "ping needs no server: the kernel answers it; leave \"to\" out"
	}
	if c.Expect != "" && !slices.Contains(Outcomes, c.Expect) {
		return "expect", fmt.Sprintf("%q can't be expected: it is one of ok, refused, unreachable, timeout", c.Expect)
	}
	if c.Expect == Refused && c.Ping.IsValid() {
		return "expect", "an ICMP echo is never refused"
	}
	if c.Timeout != "" {
		if d, err := time.ParseDuration(c.Timeout); err != nil || d <= 0 || d > maxTimeout {
			return "timeout", fmt.Sprintf("%q is no duration between 0 and 10m, such as 500ms or 5s", c.Timeout)
		}
	}
	return "", ""
}

// Run makes all checks at once and returns their results in order. enter
// leads into a sandbox by its name; "host" is the process's own namespace,
// for which it is not asked.
func Run(ctx context.Context, checks []osl.Check, enter func(sandbox string) (Enter, error)) []Result {
	doors := doors{enter: enter, open: map[string]door{}}
	// Servers stand before the first check, and until the last is over.
	servers := startServers(checks, &doors)
	defer servers.stop()

	results := make([]Result, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		results[i] = Result{From: c.From, Check: describe(c), Expect: expected(c)}
		if err := servers.problem(c); err != nil {
			results[i].Result, results[i].Detail = failed, err.Error()
			continue
		}
		in, err := doors.get(c.From)
		if err != nil {
			results[i].Result, results[i].Detail, results[i].cut = failed, err.Error(), ctx.Err() != nil
			continue
		}
		wg.Go(func() { one(ctx, c, in, &results[i]) })
	}
	wg.Wait()
	return results
}

// one makes a check inside the sandbox.
func one(ctx context.Context, c osl.Check, in Enter, r *Result) {
	err := in(func() {
		begin := time.Now()
		own, cancel := context.WithTimeout(ctx, timeout(c))
		defer cancel()
		o := persist(own, c)
		r.cut = ctx.Err() != nil && time.Since(begin) < timeout(c) && (o.kind != r.Expect || o.kind == Timeout)
		r.Result, r.Detail = o.kind, o.detail
		r.Seconds = time.Since(begin).Seconds()
		if o.kind == OK {
			r.Seconds = o.took.Seconds()
		}
	})
	if err != nil {
		r.Result, r.Detail = failed, err.Error()
	}
	r.Passed = r.Result == r.Expect && !r.cut
}

// persist tries until the check comes out as expected, is answered, or is out
// of time: a port that has just come up may need a moment until it forwards.
func persist(ctx context.Context, c osl.Check) outcome {
	var last outcome
	for {
		began := time.Now()
		o := try(ctx, c)
		if o.kind == Unreachable && expected(c) == Timeout && time.Since(began) >= resend {
			// Nobody answered until the kernel gave up asking for the neighbour.
			return outcome{kind: Timeout, detail: "no answer"}
		}
		if o.kind == expected(c) || o.kind == OK || o.kind == failed {
			return o
		}
		if o.kind != Timeout || last.kind == "" { // one try more that got no answer says less
			last = o
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
		if ctx.Err() != nil {
			return last
		}
	}
}

func expected(c osl.Check) string {
	if c.Expect == "" {
		return OK
	}
	return c.Expect
}

func timeout(c osl.Check) time.Duration {
	if d, err := time.ParseDuration(c.Timeout); err == nil {
		return d
	}
	return DefaultTimeout
}

func describe(c osl.Check) string {
	switch {
	case c.Ping.IsValid():
		return "ping " + c.Ping.String()
	case c.TCP.IsValid():
		return "tcp " + c.TCP.String()
	}
	return "udp " + c.UDP.String()
}

// doors opens each sandbox once.
type doors struct {
	enter func(string) (Enter, error)
	open  map[string]door
}

type door struct {
	in  Enter
	err error
}

func (d *doors) get(sandbox string) (Enter, error) {
	if sandbox == osl.HostName {
		return func(f func()) error { f(); return nil }, nil
	}
	if _, ok := d.open[sandbox]; !ok {
		in, err := d.enter(sandbox)
		if err == nil && in == nil {
			err = errors.New("no way into the sandbox")
		}
		d.open[sandbox] = door{in, err}
	}
	return d.open[sandbox].in, d.open[sandbox].err
}
