package cli

import (
	"fmt"
	"strings"

	"github.com/seed59451c2b/osl"
)

func nexthopRows(st *osl.Status) [][]string {
	var rows [][]string
	for _, n := range st.Nexthops {
		rows = append(rows, nexthopRow(n, "osl"))
	}
	for _, n := range st.OtherNexthops {
		rows = append(rows, nexthopRow(n, ""))
	}
	return rows
}

// nexthopRow shows a next hop that is an object, as the ip command does.
func nexthopRow(n osl.NexthopSpec, by string) []string {
	var words []string
	if n.Blackhole {
		words = append(words, "blackhole")
	}
	if len(n.Group) > 0 {
		var list []string
		for _, m := range n.Group {
			text := fmt.Sprint(m.ID)
			if m.Weight > 1 {
				text += fmt.Sprintf(" (%d)", m.Weight)
			}
			list = append(list, text)
		}
		words = append(words, "group "+strings.Join(list, ", "))
	}
	if n.Type != "" {
		words = append(words, n.Type, "buckets", fmt.Sprint(n.Buckets))
		for _, t := range []struct {
			name string
			d    *osl.Duration
		}{{"idle_timer", n.IdleTimer}, {"unbalanced_timer", n.UnbalancedTimer}} {
			if t.d != nil {
				words = append(words, t.name, t.d.String())
			}
		}
	}
	if n.Via.IsValid() {
		words = append(words, "via "+n.Via.String())
	}
	if n.Dev != "" {
		words = append(words, "dev "+n.Dev)
	}
	if n.Family == "ipv6" {
		words = append(words, "(ipv6)")
	}
	return []string{fmt.Sprint(n.ID), strings.Join(words, " "), by}
}
