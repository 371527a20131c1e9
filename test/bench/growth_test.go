package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGrowths: names are keys of results.json and of -only, beside those of the measures.
func TestGrowths(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range groups() {
		for _, m := range g.measures {
			seen[m.Name] = true
		}
	}
	for _, g := range growths() {
		if g.name == "" || len(g.sizes) < 3 || g.limit == 0 || g.reach == nil {
			t.Errorf("%q is not whole", g.name)
		}
		for i, size := range g.sizes {
			if i > 0 && size <= g.sizes[i-1] {
				t.Errorf("%s: %d comes after %d", g.name, size, g.sizes[i-1])
			}
		}
		for _, c := range g.curves {
			if c.Name == "" || c.What == "" || c.Unit == "" || c.samples == 0 || c.sample == nil || seen[c.Name] {
				t.Errorf("%s: %q is not whole, or is there twice", g.name, c.Name)
			}
			seen[c.Name] = true
		}
	}
}

// counted is a growth of nothing that does not reach the last of its sizes.
func counted() growth {
	return growth{
		name: "things", sizes: []int{1, 10, 100}, limit: 1 << 40,
		reach: func(_ context.Context, _ *subject, _, size int) error {
			if size == 100 {
				return errors.New("enough")
			}
			return nil
		},
		curves: []curve{{
			Name: "things-time", What: "What it takes", Unit: inSeconds, samples: 2,
			sample: func(_ context.Context, _ *subject, size int) (float64, error) { return float64(size), nil },
		}},
	}
}

func TestPointsBeforeAnErrorAreKept(t *testing.T) {
	g := counted()
	b := &bench{opts: options{only: regexp.MustCompile("")}, results: &results{Date: "today", Commit: "abc"}}
	points := map[string][]point{}
	var err error
	for i, size := range g.sizes {
		if err = b.atSize(t.Context(), g, g.curves, &subject{name: boxyard}, max(0, i-1), size, points); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatal("no error from the size that cannot be reached")
	}
	b.results.recordCurves(g, g.curves, points)
	want := []point{
		{Name: "things-time-1", Size: 1, Samples: map[string][]float64{boxyard: {1, 1}}},
		{Name: "things-time-10", Size: 10, Samples: map[string][]float64{boxyard: {10, 10}}},
	}
	if diff := cmp.Diff(want, b.results.Curves["things-time"].Points); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
}

func TestCurveSection(t *testing.T) {
	r := &curveResult{
		curve: curve{Name: "things-time", What: "What it takes", Unit: inSeconds}, Of: "things", Date: "today", Commit: "abc",
		Points: []point{
			{Size: 10, Samples: map[string][]float64{boxyard: {0.02, 0.03, 0.04}}},
			{Size: 1010, Samples: map[string][]float64{boxyard: {0.53}}},
		},
	}
	got := curveSection(r)
	for _, want := range []string{
		"| 10 | boxyard | 30 ms | 20 ms | 40 ms | 3 |\n",
		"| 1010 | boxyard | 530 ms | 530 ms | 530 ms | 1 |\n",
		"- Grows: from 30 ms to 530 ms, 17.7 x for 101 x as many things; 500 µs for each.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	r.Points[1].Samples[boxyard] = []float64{0.033}
	if got, want := slope(r), "Flat: 1.10 x from 10 to 1010 things."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if plot := drawCurve(r); strings.Count(plot, "<circle") != 4 || strings.Count(plot, "<polyline") != 1 || strings.Contains(plot, "NaN") {
		t.Errorf("not four samples and a line:\n%s", plot)
	}
}

func TestSeveralStopsAtTheFirstError(t *testing.T) {
	var calls atomic.Int32
	enough := errors.New("enough")
	err := several(t.Context(), 2, 0, 1000, func(ctx context.Context, i int) error {
		calls.Add(1)
		if i == 3 {
			return enough
		}
		if i > 3 {
			<-ctx.Done()
		}
		return nil
	})
	if !errors.Is(err, enough) || calls.Load() > 10 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	if err := several(t.Context(), 2, 0, 10, func(context.Context, int) error { return nil }); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := several(ended, 2, 0, 10, func(context.Context, int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
