package load

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server counts requests and connections.
func server(t *testing.T, handler http.HandlerFunc) (url string, requests, conns *atomic.Int64) {
	t.Helper()
	requests, conns = new(atomic.Int64), new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, requests, conns
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }

func run(t *testing.T, plan Plan) []Result {
	t.Helper()
	if plan.Rate == 0 {
		plan.Rate, plan.Duration = 200, 250*time.Millisecond
	}
	results, err := Run(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestModes(t *testing.T) {
	for _, test := range []struct {
		mode               Mode
		minConns, maxConns int64
	}{{KeepAlive, 1, 4}, {New, 50, 50}} {
		t.Run(string(test.mode), func(t *testing.T) {
			url, requests, conns := server(t, hello)
			sum := Summarize(run(t, Plan{URL: url, Mode: test.mode, Workers: 4, Expect: "hello"}))
			if sum.Sent != 50 || sum.Failed != 0 || requests.Load() != 50 {
				t.Errorf("server saw %d requests, want 50: %v", requests.Load(), sum)
			}
			if got := conns.Load(); got < test.minConns || got > test.maxConns {
				t.Errorf("%d connections, want %d to %d", got, test.minConns, test.maxConns)
			}
		})
	}
}

func TestFailuresAreSeen(t *testing.T) {
	var n atomic.Int64
	url, requests, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 5 {
		case 0:
			http.Error(w, "no", http.StatusBadGateway)
		case 1:
			_, _ = w.Write([]byte("something else"))
		case 2: // a connection that breaks: net/http would repeat the request
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		default:
			hello(w, nil)
		}
	})
	sum := Summarize(run(t, Plan{URL: url, Mode: KeepAlive, Workers: 1, Expect: "hello"}))
	if sum.Sent != 50 || sum.Failed != 30 {
		t.Errorf("want 30 of 50 failed: %v", sum)
	}
	if requests.Load() != 50 {
		t.Errorf("server saw %d requests: something was repeated", requests.Load())
	}
	for _, want := range []string{"502", "lacks", "EOF"} {
		if !strings.Contains(sum.String(), want) {
			t.Errorf("the sum does not name %q: %v", want, sum)
		}
	}
}

func TestClosedIdleConnectionIsNoFailure(t *testing.T) {
	url, _, conns := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		hello(w, r)
	})
	if sum := Summarize(run(t, Plan{URL: url, Mode: KeepAlive, Workers: 1})); sum.Failed != 0 || conns.Load() != 50 {
		t.Errorf("%d connections: %v", conns.Load(), sum)
	}
}

func TestStallShowsAsLatency(t *testing.T) {
	var first atomic.Bool
	url, _, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(false, true) {
			time.Sleep(200 * time.Millisecond)
		}
		hello(w, r)
	})
	sum := Summarize(run(t, Plan{URL: url, Mode: KeepAlive, Workers: 1}))
	if sum.P50 < 20*time.Millisecond {
		t.Errorf("requests that waited behind a stall of 200ms have a median of %v", sum.P50)
	}
}

func TestNobodyListens(t *testing.T) {
	sum := Summarize(run(t, Plan{URL: "http://127.0.0.1:1/", Mode: New, Rate: 50, Duration: 100 * time.Millisecond}))
	if sum.Failed != 5 || !strings.Contains(sum.String(), "connection refused") {
		t.Errorf("want 5 refused: %v", sum)
	}
}

func TestLookupEachFails(t *testing.T) {
	url, requests, _ := server(t, hello)
	url = strings.Replace(url, "127.0.0.1", "name.invalid", 1)
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
	sum := Summarize(run(t, Plan{URL: url, Mode: KeepAlive, LookupEach: true, DNS: "127.0.0.1:1", Dial: dial, Rate: 50, Duration: 100 * time.Millisecond}))
	if sum.Failed != 5 || requests.Load() != 0 {
		t.Errorf("want 5 failed lookups: %v", sum)
	}
}

func TestEarlyEnd(t *testing.T) {
	url, _, _ := server(t, hello)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	results, err := Run(ctx, Plan{URL: url, Mode: KeepAlive, Rate: 100, Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if sum := Summarize(results); sum.Sent == 0 || sum.Sent > 50 || sum.Failed != 0 {
		t.Errorf("after 100ms of 100 requests per second: %v", sum)
	}
}

func TestBoundsAreEnforced(t *testing.T) {
	good := Plan{URL: "http://127.0.0.1/", Mode: New, Rate: 1, Duration: time.Second}
	for name, change := range map[string]func(*Plan){
		"scheme":   func(p *Plan) { p.URL = "https://127.0.0.1/" },
		"rate":     func(p *Plan) { p.Rate = maxRate + 1 },
		"no rate":  func(p *Plan) { p.Rate = 0 },
		"duration": func(p *Plan) { p.Duration = maxDuration + 1 },
		"mode":     func(p *Plan) { p.Mode = "often" },
		"workers":  func(p *Plan) { p.Workers = 1000 },
	} {
		plan := good
		change(&plan)
		if _, err := Run(t.Context(), plan); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestCSVRoundTrip(t *testing.T) {
	want := []Result{
		{Series: "a", Due: time.Unix(12, 34), Latency: 5 * time.Microsecond, Status: 200},
		{Series: "b", Due: time.Unix(13, 0), Latency: time.Second, Err: `read: "odd", text`},
	}
	var file bytes.Buffer
	if err := WriteCSV(&file, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadCSV(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
