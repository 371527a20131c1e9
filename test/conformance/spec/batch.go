package spec

import (
	"cmp"
	"slices"
)

// Batch is what one call of ginkgo runs.
type Batch struct {
	Specs  []Spec
	Serial bool
}

// Batches cuts specs into batches of at most size: those that may run beside each other first, the longest of
// them first, so that those of one batch end at about the same time and no processor waits for a straggler.
// seconds says how long a spec is known to take, 0 where it is not known.
func Batches(specs []Spec, size int, seconds func(name string) float64) []Batch {
	var batches []Batch
	for _, serial := range []bool{false, true} {
		some := slices.DeleteFunc(slices.Clone(specs), func(s Spec) bool { return s.Serial != serial })
		slices.SortStableFunc(some, func(a, b Spec) int { return cmp.Compare(seconds(b.Name), seconds(a.Name)) })
		for chunk := range slices.Chunk(some, size) {
			batches = append(batches, Batch{Specs: chunk, Serial: serial})
		}
	}
	return batches
}
