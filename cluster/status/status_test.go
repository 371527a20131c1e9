package status

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestBoardNamesTheFirstPartThatIsNotReady(t *testing.T) {
	b := New(nil, "etcd", "api", "node")
	b.Ready("node")
	b.Ready("etcd")
	b.Wait("api", "the API to listen on 127.0.0.1:6443")
	if a := b.answer(); a.Ready || a.WaitingFor != "the API to listen on 127.0.0.1:6443" {
		t.Errorf("answer: %+v", a)
	}
	b.Ready("api")
	if a := b.answer(); !a.Ready || a.WaitingFor != "" || len(a.Parts) != 3 {
		t.Errorf("answer: %+v", a)
	}
	since := b.answer().Parts[2].Since
	b.Ready("node")
	if !b.answer().Parts[2].Since.Equal(since) {
		t.Error("since has changed without a change")
	}
	b.Wait("node", "node web to be Ready (no network)")
	if b.All() || b.IsReady("node") || !b.IsReady("api") {
		t.Error("a part that waits again is ready")
	}
}

func TestServeAnswersOnTheSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "status.sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil { // left by a process before
		t.Fatal(err)
	}
	looked := false
	b := New(func(context.Context) { looked = true }, "etcd")
	b.Ready("etcd")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx, socket) }()

	a := get(t, socket)
	if !a.Ready || !looked || a.Parts[0].Name != "etcd" || a.Parts[0].Since.IsZero() {
		t.Errorf("answer: %+v, looked again: %v", a, looked)
	}
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v", info.Mode())
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestAwaitGivesWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil, "etcd", "api")
		begun := time.Now()
		if a := b.await(t.Context(), 500*time.Millisecond); a.WaitingFor != "etcd to start" || time.Since(begun) != 500*time.Millisecond {
			t.Errorf("nothing is new: %+v after %v", a, time.Since(begun))
		}
		if a := b.await(t.Context(), 0); a.WaitingFor != "etcd to start" {
			t.Errorf("without a wait: %+v", a)
		}
		answers := make(chan answer)
		go func() { answers <- b.await(t.Context(), time.Hour) }()
		synctest.Wait()
		b.Wait("etcd", "etcd to start")
		b.Wait("api", "etcd") // it is not the first that is waited for
		synctest.Wait()
		select {
		case a := <-answers:
			t.Fatalf("nothing is new: %+v", a)
		default:
		}
		b.Ready("etcd")
		if a := <-answers; a.Ready || a.WaitingFor != "etcd" {
			t.Errorf("the API is next: %+v", a)
		}
		b.Ready("api")
		begun = time.Now()
		if a := b.await(t.Context(), time.Hour); !a.Ready || time.Since(begun) != 0 {
			t.Errorf("all is ready: %+v after %v", a, time.Since(begun))
		}
		b.Wait("api", "etcd")
		begun = time.Now()
		if b.await(t.Context(), time.Hour); time.Since(begun) != longestWait {
			t.Errorf("kept for %v", time.Since(begun))
		}
	})
}

// get asks until the socket is there.
func get(t *testing.T, socket string) answer {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		for {
			conn, err := d.DialContext(ctx, "unix", socket)
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
		}
	}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://status/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var a answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}
