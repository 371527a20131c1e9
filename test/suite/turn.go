package suite

import (
	"maps"
	"slices"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// SecondTurn calls the tests once more that failed for a reason that explained does not give, and takes what comes of
// them then: on a busy machine an upstream test's patience of some seconds ends, or it signals a program that is not
// there yet. It says which these are; a fault of ours fails twice.
func SecondTurn(results map[string]spec.Result, explained map[string]string, call func(names []string) (map[string]spec.Result, error)) error {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if _, ok := explained[name]; results[name].State == spec.Failed && !ok {
			Say("  failed, and is called once more: %s", name)
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	second, err := call(names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if r, ok := second[name]; ok {
			results[name] = r
			Say("  %s the second time: %s", r.State, name)
		}
	}
	return nil
}
