package main

import (
	"math"
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for name, test := range map[string]struct {
		samples     []float64
		median, p99 float64
	}{
		"one":     {[]float64{3}, 3, 3},
		"two":     {[]float64{4, 2}, 3, 4},
		"hundred": {hundred, 50.5, 99},
	} {
		t.Run(name, func(t *testing.T) {
			if s := summarize(test.samples); s.Median != test.median || s.P99 != test.p99 {
				t.Errorf("median %v, p99 %v; want %v and %v", s.Median, s.P99, test.median, test.p99)
			}
		})
	}
	if s := summarize(nil); !math.IsNaN(s.Median) {
		t.Errorf("median of nothing is %v", s.Median)
	}
}

func TestVerdicts(t *testing.T) {
	r := &result{
		measure: measure{Name: "run", Unit: inSeconds, Budget: 0.1, BudgetP99: 0.1, Peer: moby, Ratio: 0.5},
		Samples: map[string][]float64{boxyard: {0.12}, moby: {0.2}},
		Before:  0.1, BeforeCommit: "abc",
	}
	got := strings.Join(verdicts(r), "\n")
	for _, want := range []string{"Budget 100 ms: **missed**.", "Budget 100 ms of the p99: **missed**.", "Budget 0.50 x moby: **missed**, with 0.60 x.", "worse (1.20 x) than"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	r.Samples[boxyard] = []float64{0.08}
	got = strings.Join(verdicts(r), "\n")
	for _, want := range []string{"Budget 100 ms: kept.", "Budget 100 ms of the p99: kept.", "with 0.40 x", "better (0.80 x) than"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

// TestGroups: names are keys of results.json and of -only, and a ratio needs its peer.
func TestGroups(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range groups() {
		for _, m := range g.measures {
			if m.Name == "" || m.What == "" || m.Unit == "" || m.rounds == 0 || m.sample == nil || seen[m.Name] || (m.Ratio > 0) != (m.Peer != "") {
				t.Errorf("%s: %q is not whole, or is there twice", g.name, m.Name)
			}
			seen[m.Name] = true
		}
	}
}
