package suite

import (
	"slices"
	"testing"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

func TestSecondTurn(t *testing.T) {
	results := map[string]spec.Result{
		"passes": {State: spec.Passed}, "flaky": {State: spec.Failed}, "broken": {State: spec.Failed}, "known": {State: spec.Failed}, "lost": {State: spec.Failed},
	}
	var called []string
	err := SecondTurn(results, map[string]string{"known": "why"}, func(names []string) (map[string]spec.Result, error) {
		called = names
		return map[string]spec.Result{"flaky": {State: spec.Passed}, "broken": {State: spec.Failed}}, nil
	})
	if want := []string{"broken", "flaky", "lost"}; err != nil || !slices.Equal(called, want) {
		t.Errorf("called: %q, want %q, %v", called, want, err)
	}
	for name, want := range map[string]spec.State{
		"passes": spec.Passed, "flaky": spec.Passed, "broken": spec.Failed, "known": spec.Failed, "lost": spec.Failed,
	} {
		if got := results[name].State; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
