package main

import (
	"fmt"
	"math"
	"slices"
)

// unit is what a measure's values are.
type unit string

const (
	inSeconds unit = "s"
	inBytes   unit = "bytes"
	inCores   unit = "cores" // of one core
	perSecond unit = "1/s"
)

// more says that more of it is better, and a budget the least that it may be.
func (u unit) more() bool { return u == perSecond }

// format writes a value for people.
func (u unit) format(v float64) string {
	switch u {
	case inSeconds:
		return formatSeconds(v)
	case inBytes:
		if v > 0 && v < 1e5 {
			return fmt.Sprintf("%.1f kB", v/1e3)
		}
		return fmt.Sprintf("%.1f MB", v/1e6)
	case inCores:
		return fmt.Sprintf("%.1f %%", v*100)
	case perSecond:
		return fmt.Sprintf("%.0f/s", v)
	default:
		return fmt.Sprint(v)
	}
}

func formatSeconds(v float64) string {
	switch {
	case v >= 1:
		return fmt.Sprintf("%.2f s", v)
	case v >= 0.01 || v == 0:
		return fmt.Sprintf("%.0f ms", v*1000)
	case v >= 0.001:
		return fmt.Sprintf("%.1f ms", v*1000)
	default:
		return fmt.Sprintf("%.0f µs", v*1e6)
	}
}

// summary is what is shown of samples.
type summary struct {
	Count       int
	Median, P99 float64
	Least, Most float64
}

func summarize(samples []float64) summary {
	sorted := slices.Sorted(slices.Values(samples))
	if len(sorted) == 0 {
		return summary{Median: math.NaN(), P99: math.NaN(), Least: math.NaN(), Most: math.NaN()}
	}
	return summary{
		Count: len(sorted), Median: quantile(sorted, 0.5), P99: quantile(sorted, 0.99),
		Least: sorted[0], Most: sorted[len(sorted)-1],
	}
}

// quantile takes the smallest sample that at least q of all samples are not above (the nearest rank), except for a
// median between two.
func quantile(sorted []float64, q float64) float64 {
	n := len(sorted)
	if q == 0.5 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[max(0, int(math.Ceil(q*float64(n)))-1)]
}

func (s summary) in(u unit) string {
	return fmt.Sprintf("median %s, p99 %s, %d samples", u.format(s.Median), u.format(s.P99), s.Count)
}
