// Package spelling finds how far a word is from the one that was probably meant. It imports nothing of Boxyard.
package spelling

import (
	"slices"
	"strings"
)

// Distance is Levenshtein's edit distance, counted in bytes: keys and names are ASCII.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Near returns at most n of names, the most similar first: those that contain the name or lie in
// it, then by edit distance.
func Near(name string, names []string, n int) []string {
	rank := func(s string) int {
		if strings.Contains(s, name) || strings.Contains(name, s) {
			return 0
		}
		return Distance(name, s)
	}
	sorted := slices.SortedFunc(slices.Values(names), func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return sorted[:min(n, len(sorted))]
}
