// Package near finds the name that was most likely meant.
package near

import (
	"slices"
	"strconv"
	"strings"
)

// Name returns the name nearest to word, empty if none is near enough to be
// meant: one with which it has no letter in common is not.
func Name(word string, names []string) string {
	best, bestDist := "", 1+max(1, len(word)/3)
	for _, n := range slices.Sorted(slices.Values(names)) {
		if d := distance(strings.ToLower(word), n); d < bestDist && d < max(len(word), len(n)) {
			best, bestDist = n, d
		}
	}
	return best
}

// Hint returns the end of a sentence that offers the nearest name, empty if none
// is near.
func Hint(word string, names []string) string {
	if s := Name(word, names); s != "" {
		return "; did you mean " + strconv.Quote(s) + "?"
	}
	return ""
}

// distance is the number of characters to insert, delete, replace, or swap
// with the next, that make a into b.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
