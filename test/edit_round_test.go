//go:build linux

package osltest

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

// edits are what a model of edits draws, and looks at.
type edits struct {
	look  func(*testing.T) map[string][]string // what another program sees of each sandbox
	draw  func() osl.Network
	holds func(osl.Network) // compares the kernel with a network that went up
	// strangers makes what is not osl's before a change that fails, nil for nothing, and
	// returns what takes it away.
	strangers func(osl.Network) func()
}

// edit draws a network that goes up: what Diff said is what happened, and then there is
// nothing to change. Then it draws one that fails, and leaves all as it is.
func (r *drawer) edit(t *testing.T, e edits) {
	n := e.draw()
	text, _ := json.Marshal(n)
	r.Logf("apply %s", text)
	would, err := osl.Diff(t.Context(), n)
	if err != nil {
		r.Fatalf("diff: %v", err)
	}
	did, err := osl.Apply(t.Context(), n)
	if err != nil || born.ReplaceAllString(would.String(), "") != born.ReplaceAllString(did.String(), "") {
		r.Fatalf("apply: %v\n%s\ndiff had said\n%s", err, did, would)
	}
	if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
		r.Fatalf("diff after that: %v\n%s", err, c)
	}
	e.holds(n)
	bad := e.draw()
	if !r.spoil(&bad) {
		return
	}
	text, _ = json.Marshal(bad)
	r.Logf("a failing apply %s", text)
	leave := func() {}
	if e.strangers != nil {
		leave = e.strangers(n)
	}
	before := e.look(t)
	if did, err := osl.Apply(t.Context(), bad); err == nil {
		r.Fatalf("it did not fail:\n%s", did)
	}
	if changed := differs(t, before, e.look); changed != "" {
		r.Fatalf("a change that failed has changed %s", changed)
	}
	leave()
	if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
		r.Fatalf("diff after a change that failed: %v\n%s", err, c)
	}
	e.holds(n)
}

// takesBack takes the network down; then all is as it was first.
func (r *drawer) takesBack(t *testing.T, first map[string][]string, look func(*testing.T) map[string][]string) {
	if _, err := osl.Down(t.Context(), osl.Network{Name: "lab"}); err != nil {
		r.Fatalf("down: %v", err)
	}
	if left := differs(t, first, look); left != "" {
		r.Fatalf("after Down: %s", left)
	}
}

// born is what of a step depends on when it was planned: in the mark of a link that osl makes
// on the host the time, and of an address that comes again what is left of its lifetime.
var born = regexp.MustCompile(`;b=\w+|_lft \d+`)

// differs says what is not as before, empty for nothing: what the kernel does by itself
// takes a moment. A sandbox that is there before or after alone differs too.
func differs(t *testing.T, before map[string][]string, look func(*testing.T) map[string][]string) (changed string) {
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		after := look(t)
		if maps.EqualFunc(before, after, slices.Equal) {
			return ""
		}
		if time.Now().Before(end) {
			continue
		}
		keys := maps.Clone(before)
		maps.Copy(keys, after)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			was, had := before[key]
			is, has := after[key]
			switch {
			case !had:
				changed += key + " is there\n"
			case !has:
				changed += key + " is gone\n"
			case !slices.Equal(was, is):
				changed += key + ":\n" + diff(was, is)
			}
		}
		return changed
	}
}

// everySnapshot is what another program sees of each sandbox.
func everySnapshot(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	files, _ := os.ReadDir("/run/netns")
	for _, f := range files {
		all[f.Name()] = slices.Concat(snapshot(t, "/run/netns/"+f.Name()), nexthopsIn(t, f.Name()), routesByNexthop(t, f.Name()), kindsIn(t, f.Name()))
	}
	return all
}

// hostNow is what another program sees of the host and of its forwarding.
func hostNow(t *testing.T) []string {
	t.Helper()
	all := snapshot(t, "")
	for _, path := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		b, err := os.ReadFile("/proc/sys/net/" + path)
		must(t, err)
		all = append(all, path+" = "+strings.TrimSpace(string(b)))
	}
	return all
}

// everywhere is what another program sees of the host and each sandbox.
func everywhere(t *testing.T) map[string][]string {
	all := everySnapshot(t)
	all["the host"] = hostNow(t)
	return all
}
