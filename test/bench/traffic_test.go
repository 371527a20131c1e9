package main

import (
	"strings"
	"testing"
)

const wrkReport = `Running 10s test @ http://127.0.0.1:18090/healthz
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   600.00us  100.00us   9.00ms   80.00%
    Req/Sec    12.00k     1.00k   15.00k    70.00%
  240000 requests in 10.00s, 30.00MB read
Requests/sec:  24000.50
Transfer/sec:      3.00MB
`

func TestWrkRate(t *testing.T) {
	if rate, err := wrkRate(wrkReport); err != nil || rate != 24000.5 {
		t.Errorf("got %v, %v", rate, err)
	}
	for _, line := range []string{
		"  Socket errors: connect 0, read 3, write 0, timeout 0\n",
		"  Non-2xx or 3xx responses: 7\n",
	} {
		if _, err := wrkRate(wrkReport + line); err == nil {
			t.Errorf("not refused: %s", line)
		}
	}
	if _, err := wrkRate("unable to connect\n"); err == nil {
		t.Error("a report without a rate is not refused")
	}
}

func TestVerdictsWhereMoreIsBetter(t *testing.T) {
	r := &result{
		measure: measure{Name: "service-traffic", Unit: perSecond, Budget: 1000, Peer: onHost, Ratio: 0.9},
		Samples: map[string][]float64{boxyard: {950}, onHost: {1000}},
		Before:  800, BeforeCommit: "abc",
	}
	got := strings.Join(verdicts(r), "\n")
	for _, want := range []string{"Budget 1000/s, at least: **missed**.", "Budget 0.90 x host, at least: kept, with 0.95 x.", "better (1.19 x) than"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	r.Samples[boxyard] = []float64{700}
	got = strings.Join(verdicts(r), "\n")
	for _, want := range []string{"Budget 0.90 x host, at least: **missed**, with 0.70 x.", "worse (0.88 x) than"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}
