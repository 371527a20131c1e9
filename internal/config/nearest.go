package config

import (
	"strings"

	"github.com/boxyard/boxyard/internal/spelling"
)

// nearestKey returns the key that a user most likely meant by path, or "" where
// none is near. The last part alone counts too, since a key in the wrong group
// ("podCIDR" at the top) is as common as a misspelt one.
func nearestKey(path string, keys []string) string {
	best, bestDistance := "", 1+len(path)/3
	for _, key := range keys {
		d := min(
			spelling.Distance(strings.ToLower(path), strings.ToLower(key)),
			1+spelling.Distance(strings.ToLower(lastPart(path)), strings.ToLower(lastPart(key))),
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
		if d := spelling.Distance(strings.ToLower(word), w); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

func lastPart(path string) string {
	return path[strings.LastIndex(path, ".")+1:]
}
