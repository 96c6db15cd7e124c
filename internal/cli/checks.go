package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/check"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netfile"
)

// runChecks runs checks in the sandboxes of the base path.
func (a *app) runChecks(ctx context.Context, checks []osl.Check) []check.Result {
	var open []*osl.Namespace
	defer func() {
		for _, ns := range open {
			// Only a handle ends here; the checks have their results.
			_ = ns.Close()
		}
	}()
	return check.Run(ctx, checks, func(name string) (check.Enter, error) {
		ns, err := osl.Open(ctx, name)
		if errors.Is(err, osl.ErrNotFound) {
			return nil, fmt.Errorf("there is no sandbox %q", name)
		}
		if err != nil {
			return nil, err
		}
		open = append(open, ns)
		return ns.InvokeFunc, nil
	})
}

func checkTable(w io.Writer, results []check.Result) {
	if len(results) == 0 {
		return
	}
	var rows [][]string
	for _, r := range results {
		took := time.Duration(r.Seconds * float64(time.Second))
		shown := r.Result
		if !r.Passed {
			shown = "FAILED: " + shown
		}
		rows = append(rows, []string{r.From, r.Check, r.Expect, shown, shorten(took), r.Detail})
	}
	columns(w, "FROM CHECK EXPECT RESULT TIME DETAIL", rows)
}

// shorten rounds a duration to what one can read at a glance.
func shorten(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// verdict is an error if a check did not pass, or was not tried to its end, since that of ctx came.
func verdict(ctx context.Context, results []check.Result, advice string) error {
	if check.Cut(results) {
		text := "the checks were not tried to their end; " + advice
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fault.Worded(text, ctx.Err())
		}
		return errors.New(text) // no context.Canceled: something was changed
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s failed; %s", failed, count(len(results), "check", "checks"), advice)
}

// isUp is an error where a network has sandboxes and none of them is there: its checks would each
// wait, and say so.
func isUp(f *netfile.File, paths []string) error {
	var names []string
	for _, s := range f.Sandboxes {
		if s.Name == osl.HostName {
			continue
		}
		if there, err := exists(s.Name); there || err != nil {
			return err
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("check: the network %q is not up, there is no sandbox of it (%s); bring it up with: osl up %s", f.Name, some(names), quoted(paths))
}

// foreign names what others made in the sandboxes whose checks failed.
func foreign(ctx context.Context, checks []osl.Check, results []check.Result) error {
	var errs []error
	seen := map[string]bool{osl.HostName: true}
	if ctx.Err() != nil {
		return nil
	}
	for i, r := range results {
		for _, name := range []string{checks[i].From, checks[i].To} {
			if r.Passed || name == "" || seen[name] {
				continue
			}
			seen[name] = true
			err := with(ctx, name, func(ns *osl.Namespace) error {
				st, err := ns.Inspect(ctx)
				if err != nil {
					return err
				}
				if list := inTheWay(st); len(list) > 0 {
					return fmt.Errorf("in %s is what osl did not make: %s", name, strings.Join(list, "; "))
				}
				return nil
			})
			if !errors.Is(err, osl.ErrNotFound) { // the check has said that
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
