package config

import "strings"

// nearestKey returns the key that a user most likely meant by path, or "" where
// none is near. The last part alone counts too, since a key in the wrong group
// ("podCIDR" at the top) is as common as a misspelt one.
func nearestKey(path string, keys []string) string {
	best, bestDistance := "", 1+len(path)/3
	for _, key := range keys {
		d := min(
			editDistance(strings.ToLower(path), strings.ToLower(key)),
			1+editDistance(strings.ToLower(lastPart(path)), strings.ToLower(lastPart(key))),
		)
		if d < bestDistance {
			best, bestDistance = key, d
		}
	}
	return best
}

func nearestWord(word string, words []string) string {
	best, bestDistance := "", 1+len(word)/2
	for _, w := range words {
		if d := editDistance(strings.ToLower(word), w); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

func lastPart(path string) string {
	return path[strings.LastIndex(path, ".")+1:]
}

// editDistance is Levenshtein's, over bytes: keys are ASCII.
func editDistance(a, b string) int {
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
