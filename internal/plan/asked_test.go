package plan

import (
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
