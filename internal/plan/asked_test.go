package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// The speed of a port is asked for where the file says its cost no more, not where it does.
func TestLoseCost(t *testing.T) {
	w, s := &Sandbox{Prune: true}, &State{}
	for i, name := range []string{"said", "dropped", "never"} {
		f, tag := Iface{Name: name, Master: "br0"}, Tag{Origin: Made, Source: name}
		if name == "said" {
			f.Port.Set(rtnl.PortCost, 7)
		}
		if name != "never" {
			tag.Asked.put(askedPort+rtnl.PortCost, true)
		}
		w.Ifaces = append(w.Ifaces, f)
		s.Links = append(s.Links, rtnl.Link{Index: 2 + i, Name: name, Kind: "vxlan", Port: new(rtnl.Options), Alias: tag.String()})
	}
	if list := s.LoseCost(w); len(list) != 1 || list[0].Name != "dropped" {
		t.Errorf("%v", list)
	}
}

// Where an alias has no room for all marks, those that are told only go first, and the
// others not before they alone are too long.
func TestMarksWithoutRoom(t *testing.T) {
	back, told := []string{"1z141z3", "8u7r2n", "zik0zj"}, []string{markStays + "1y2p0ij", markStays + "x7ab30"}
	all := append(slices.Clone(told), back...)
	forms := map[string]func(length int, marks []string) (string, []string){
		"a link": func(length int, marks []string) (string, []string) {
			s := Tag{Origin: Made, Source: "e", Asked: 5, Note: strings.Repeat("n", length), Marks: marks}.String()
			read, _ := ParseTag(s)
			return s, read.Marks
		},
		"a sandbox": func(length int, marks []string) (string, []string) {
			s := SandboxTag{Labels: map[string]string{"l": strings.Repeat("n", length)}, Sysctls: marks}.String()
			read, _ := ParseSandboxTag(s)
			return s, read.Sysctls
		},
	}
	for what, form := range forms {
		full := func(length int, marks []string) int {
			none, _ := form(1, nil)
			return len(none) + length - 1 + len(marksField+strings.Join(marks, "."))
		}
		for length := 1; length < 220; length++ {
			var want []string
			for _, marks := range [][]string{all, back} {
				if full(length, marks) <= MaxAlias {
					want = marks
					break
				}
			}
			if s, got := form(length, all); !slices.Equal(got, want) {
				t.Errorf("%s, a text of %d: %q has the marks %q, want %q", what, length, s, got, want)
			}
		}
	}
}
