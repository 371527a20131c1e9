package suite

import (
	"fmt"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// Verdict says how many of these tests passed, and is an error where one failed that nothing explains; file is the list
// of explanations.
func Verdict(names []string, record *spec.Record, explained map[string]string, file string) error {
	count, unexplained := map[spec.State]int{}, 0
	for _, name := range names {
		last, _ := record.Last(name)
		count[last.State]++
		if _, ok := explained[name]; last.State == spec.Failed && !ok {
			unexplained++
		}
	}
	Say("%d passed, %d failed, %d skipped, %d not run yet", count[spec.Passed], count[spec.Failed], count[spec.Skipped], count[""])
	if unexplained > 0 {
		return fmt.Errorf("%d tests failed for reasons that %s does not give", unexplained, file)
	}
	return nil
}
