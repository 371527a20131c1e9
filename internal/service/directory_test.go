package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/fault"
)

// fakeAPI lists what it is told, in pages of one, and sends the changes that a test gives it.
type fakeAPI struct {
	list    []string
	changes chan string
	slices  chan string // one answer each; closed: the API does not answer
}

const web = `{"metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.43.0.8","ports":[{"port":80}]}}`

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.Contains(r.URL.Path, "endpointslices"):
		answer, ok := <-f.slices
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"items":[%s]}`, answer)
	case r.URL.Query().Get("watch") != "":
		w.(http.Flusher).Flush()
		for {
			select {
			case c, ok := <-f.changes:
				if !ok {
					return
				}
				fmt.Fprintln(w, c)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	default:
		page, next := 0, ""
		_, _ = fmt.Sscan(r.URL.Query().Get("continue"), &page)
		if page+1 < len(f.list) {
			next = fmt.Sprint(page + 1)
		}
		fmt.Fprintf(w, `{"metadata":{"resourceVersion":"7","continue":"%s"},"items":[%s]}`, next, f.list[page])
	}
}

func follow(t *testing.T, api *fakeAPI) *Directory {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"%s"}}],
"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`, server.URL)
	d := NewDirectory(func() ([]byte, error) { return []byte(config), nil }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

func await(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 10 s: ", what)
		}
	}
}

func TestDirectoryListsAndFollows(t *testing.T) {
	api := &fakeAPI{
		list: []string{
			web, `{"metadata":{"name":"api","namespace":"team"},"spec":{"clusterIP":"10.43.0.9","ports":[{"port":443}]}}`,
			`{"metadata":{"name":"udp","namespace":"team"},"spec":{"clusterIP":"10.43.0.9","ports":[{"port":53,"protocol":"UDP"}]}}`,
		},
		changes: make(chan string),
	}
	d := follow(t, api)
	await(t, "the list", d.Complete)
	if diff := cmp.Diff([]string{"web.default", "api.team"}, d.Names()); diff != "" {
		t.Error(diff)
	}
	for k, want := range map[key]Backend{
		{"default", "web"}: {Address: "10.43.0.8:80"},
		{"team", "api"}:    {Address: "10.43.0.9:443", TLS: true},
	} {
		if got, found, err := d.Find(t.Context(), k.namespace, k.name); err != nil || !found || got != want {
			t.Errorf("%v: %+v, %v, %v", k, got, found, err)
		}
	}
	if _, found, err := d.Find(t.Context(), "team", "udp"); !found || fault.Code(err) != "no-port" {
		t.Errorf("a Service without TCP: %v, %v", found, err)
	}
	api.changes <- `{"type":"MODIFIED","object":` + strings.Replace(web, "10.43.0.8", "10.43.0.7", 1) + `}`
	api.changes <- `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}`
	api.changes <- `{"type":"DELETED","object":{"metadata":{"name":"api","namespace":"team"}}}`
	await(t, "the changes", func() bool {
		got, _, _ := d.Find(t.Context(), "default", "web")
		_, there, _ := d.Find(t.Context(), "team", "api")
		return got.Address == "10.43.0.7:80" && !there
	})
	// The watch is over, and what was missed is told by the next list.
	api.list = []string{web}
	api.changes <- `{"type":"ERROR","object":{"code":410}}`
	await(t, "another list", func() bool { _, there, _ := d.Find(t.Context(), "team", "udp"); return !there })
}

func TestDirectoryKeepsWhatItKnows(t *testing.T) {
	api := &fakeAPI{
		list:   []string{`{"metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"name":"http","port":80}]}}`},
		slices: make(chan string, 1),
	}
	d := follow(t, api)
	await(t, "the list", d.Complete)
	api.slices <- `{"ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["10.42.0.7"],"conditions":{"ready":false}},{"addresses":["10.42.0.9"]}]}`
	want := Backend{Address: "10.42.0.9:8080"}
	if got, _, err := d.Find(t.Context(), "default", "db"); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	close(api.slices) // the API is away
	d.mu.Lock()
	known := d.pods[key{"default", "db"}]
	known.asked = time.Time{}
	d.pods[key{"default", "db"}] = known
	d.mu.Unlock()
	if got, _, err := d.Find(t.Context(), "default", "db"); err != nil || got != want {
		t.Errorf("while the API is away: %+v, %v", got, err)
	}
	if err := d.Unready(t.Context(), "default", "db"); err != nil {
		t.Errorf("what is not known is said: %v", err)
	}
}

func TestDirectorySaysThatNothingIsReady(t *testing.T) {
	api := &fakeAPI{list: []string{web}, slices: make(chan string, 1)}
	d := follow(t, api)
	await(t, "the list", d.Complete)
	api.slices <- `{"ports":[{"port":8080}],"endpoints":[{"addresses":["10.42.0.9"],"conditions":{"ready":false}}]}`
	if err := d.Unready(t.Context(), "default", "web"); fault.Code(err) != "no-endpoints" {
		t.Errorf("got %v", err)
	}
}

func TestDirectoryBeforeTheCluster(t *testing.T) {
	d := NewDirectory(func() ([]byte, error) { return nil, context.Canceled }, slog.New(slog.DiscardHandler))
	if _, found, err := d.Find(t.Context(), "default", "web"); found || err != nil || d.Complete() {
		t.Errorf("got %v, %v", found, err)
	}
}
