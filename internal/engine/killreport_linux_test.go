package engine_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// grouped is what did not hold, each with the points where.
type grouped struct {
	order []string
	at    map[string][]string
}

func (g *grouped) add(problem, point string) {
	if problem == "" {
		return
	}
	problem = plain(problem)
	if g.at == nil {
		g.at = map[string][]string{}
	}
	if g.at[problem] == nil {
		g.order = append(g.order, problem)
	}
	g.at[problem] = append(g.at[problem], point)
}

// knows reports whether a difference was found before.
func (g *grouped) knows(difference string) bool {
	difference = plain(difference)
	return slices.ContainsFunc(g.order, func(p string) bool { return strings.HasSuffix(p, "\n"+difference) })
}

// plain makes texts alike that differ in what the kernel chose only.
func plain(text string) string {
	return strings.Join(anewInOrder(strings.Split(text, "\n")), "\n")
}

func (g *grouped) report(t *testing.T) {
	t.Helper()
	for _, problem := range g.order {
		points := g.at[problem]
		if n := len(points); n > 8 {
			points = slices.Concat(points[:6], []string{fmt.Sprintf("... and %d more, the last of them:", n-7)}, points[n-1:])
		}
		t.Errorf("%s\n%s", strings.Join(points, "\n"), problem)
	}
}

// difference tells how the world differs from the nearest of some states.
func (k *killWorld) difference(p picture, states ...state) (nearest string) {
	least := -1
	for _, s := range states {
		goal := k.before
		if s == isWanted {
			goal = k.wanted
		}
		now, then := slices.Concat(p.kernel, infoLines(p)), slices.Concat(goal.kernel, infoLines(goal))
		if s == isWanted {
			now, then = anew(now), anew(then)
		}
		if n := strings.Count(diff(then, now), "\n"); least < 0 || n < least {
			least, nearest = n, string(s)+", but\n"+brief(then, now)
		}
	}
	return nearest
}

// infoLines are what Info says, as lines of a picture.
func infoLines(p picture) (list []string) {
	sandbox := ""
	for l := range strings.Lines(p.info) {
		if key, ok := strings.CutPrefix(l, "/run/netns/"); ok {
			sandbox = strings.TrimSpace(key)
		} else {
			list = append(list, sandbox+": Info: "+strings.TrimSpace(l))
		}
	}
	return list
}

// idle are the pieces of a line that say nothing.
var idle = regexp.MustCompile(` (broadcast|source|via|peer) invalid IP| onlink false| metrics  hops | proto $| (qlen|scope|flags|type|metric) 0\b| table 254| conf ipv4 .* kind`)

// brief makes a difference short: a sandbox that is there, or not, is one line,
// and of a link or setting that changed only the change is told.
func brief(was, is []string) string {
	var b strings.Builder
	for _, s := range []struct {
		sign        string
		list, other []string
	}{{"-", was, is}, {"+", is, was}} {
		for _, l := range s.list {
			where, what, _ := strings.Cut(l, ": ")
			if slices.Contains(s.other, l) || strings.HasPrefix(what, "namespace") && isThere(s.other, where) {
				continue
			}
			switch {
			case !isThere(s.other, where) && isThere(s.list, where):
				if !strings.HasPrefix(what, "namespace") {
					continue
				}
				l = where + ": the whole sandbox"
			case strings.HasPrefix(what, "link ") && !strings.Contains(what, " too"), strings.HasPrefix(what, "setting "):
				if other := sameObject(s.other, l); other != "" {
					if s.sign == "-" {
						b.WriteString("~ " + change(l, other) + "\n")
					}
					continue
				}
			}
			b.WriteString(idle.ReplaceAllString(s.sign+" "+l, "") + "\n")
		}
	}
	return b.String()
}

func isThere(list []string, sandbox string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return strings.HasPrefix(l, sandbox+": namespace") })
}

// sameObject finds the line about the same link or setting, by its first words.
func sameObject(list []string, line string) string {
	head := strings.Fields(strings.ReplaceAll(line, "=", " = "))[:3]
	for _, l := range list {
		if f := strings.Fields(strings.ReplaceAll(l, "=", " = ")); len(f) > 3 && slices.Equal(f[:3], head) && !strings.HasSuffix(l, " too") {
			return l
		}
	}
	return ""
}

// change tells which words of a line another one does not have, and the other
// way round: of settings, the single ones.
func change(was, is string) string {
	words := func(l string) []string {
		return strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == ',' })
	}
	a, b := words(was), words(is)
	missing := func(list, other []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(list), func(w string) bool { return slices.Contains(other, w) }), " ")
	}
	return fmt.Sprintf("%s: %q => %q", strings.Join(strings.Fields(was)[:3], " "), missing(a, b), missing(b, a))
}
