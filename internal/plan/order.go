package plan

import (
	"slices"
	"strings"
)

// inOrder puts links that others refer to first: bridges, bonds and vrfs before the others, and
// each link after its parent, as far as that is in the list. Else the order is
// that of the list. A cycle of parents is a Problem.
func inOrder(key string, list []Iface) ([]*Iface, error) {
	at := make(map[string]int, len(list))
	from := make([]int, 0, len(list))
	for i := range list {
		at[list[i].Name] = i
		from = append(from, i)
	}
	slices.SortStableFunc(from, func(a, b int) int { return b2i(KindOf(list[b].Kind).Ports) - b2i(KindOf(list[a].Kind).Ports) })
	below := func(i int) int {
		if parent, ok := at[list[i].Parent]; ok && list[i].Parent != "" {
			return parent
		}
		return -1
	}
	order, cycle := belowFirst(from, below)
	if cycle != nil {
		var names []string
		for _, i := range cycle {
			names = append(names, list[i].Name)
		}
		return nil, &Problem{Key: key, Dev: names[0], Kind: Invalid,
			Text: "its parents lead back to it: " + strings.Join(append(names, names[0]), " on ")}
	}
	sorted := make([]*Iface, len(order))
	for i, from := range order {
		sorted[i] = &list[from]
	}
	return sorted, nil
}

// stack puts each link after the one that it is made on, also where that is one
// end of a link that another sandbox makes. Else the order stays.
func stack(ops []Op) []Op {
	by := map[place]int{}
	parent := make([]place, len(ops))
	from := make([]int, 0, len(ops))
	for i, op := range ops {
		from = append(from, i)
		switch a := op.Do.(type) {
		case NewLink:
			at := op.NS
			if a.In != nil {
				at = *a.In
			}
			by[place{at, a.Link.Index}] = i
			if p := a.Link.Peer; p != nil {
				end := at
				if a.PeerNS != nil {
					end = *a.PeerNS
				}
				by[place{end, p.Index}] = i
			}
			if a.Link.Peer == nil && a.Link.Parent != 0 {
				parent[i] = place{op.NS, a.Link.Parent}
			}
		case NewTun:
			by[place{op.NS, a.Index}] = i
		case SetLink:
			if a.To != nil {
				by[place{*a.To, a.Link.NewIndex}] = i
			}
		}
	}
	order, _ := belowFirst(from, func(i int) int { // inOrder has refused a cycle
		if below, ok := by[parent[i]]; ok && below != i {
			return below
		}
		return -1
	})
	sorted := make([]Op, len(order))
	for i, from := range order {
		sorted[i] = ops[from]
	}
	return sorted
}

// belowFirst returns the numbers of a list so that each comes after the one that
// below says, which is -1 for none. Else their order stays. It returns a cycle if
// there is one.
func belowFirst(list []int, below func(i int) int) (order, cycle []int) {
	done := make(map[int]bool, len(list))
	for _, i := range list {
		var way []int
		on := map[int]int{}
		for ; i >= 0 && !done[i]; i = below(i) {
			if at, again := on[i]; again {
				return nil, way[at:]
			}
			on[i] = len(way)
			way = append(way, i)
		}
		for _, i := range slices.Backward(way) {
			done[i] = true
			order = append(order, i)
		}
	}
	return order, nil
}
