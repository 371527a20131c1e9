package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// API sends one request. The error is for requests that got no whole answer.
type API interface {
	Do(ctx context.Context, method, path string, body []byte) (int, []byte, error)
}

// fate is what is known of an object.
type fate string

const (
	present fate = "present" // its creation was acknowledged
	absent  fate = "absent"  // its deletion was acknowledged
	unknown fate = "unknown" // a request about it got no answer
)

// Ledger is the record of what was acknowledged. Its methods may be called from any goroutine.
type Ledger struct {
	api       API
	namespace string
	filler    string

	mu    sync.Mutex
	fates map[string]fate
	last  error // that a writer met
}

// New writes ConfigMaps of about size bytes into a namespace that exists.
func New(api API, namespace string, size int) *Ledger {
	return &Ledger{api: api, namespace: namespace, filler: strings.Repeat("x", size), fates: make(map[string]fate)}
}

func (l *Ledger) collection() string { return "/api/v1/namespaces/" + l.namespace + "/configmaps" }

// Write creates and deletes with so many writers until ctx is done. Nothing that goes wrong stops them.
func (l *Ledger) Write(ctx context.Context, writers int) {
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("object-%d-%d", w, n)
				if !l.create(ctx, name) {
					pause(ctx)
				}
				// Every third is deleted again, a while after it was made.
				if n%3 == 0 && n >= 9 && !l.remove(ctx, fmt.Sprintf("object-%d-%d", w, n-9)) {
					pause(ctx)
				}
			}
		})
	}
	all.Wait()
}

// pause keeps writers from spinning while nobody answers.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

// create says whether it was acknowledged.
func (l *Ledger) create(ctx context.Context, name string) bool {
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q},"data":{"key":%q,"filler":%q}}`, name, value(name), l.filler)
	l.note(name, unknown, nil) // before it is sent: ctx may end meanwhile
	status, answer, err := l.api.Do(ctx, http.MethodPost, l.collection(), []byte(body))
	switch {
	case err != nil:
		l.note(name, unknown, err)
		return false
	case status == http.StatusCreated:
		l.note(name, present, nil)
		return true
	default:
		// A refusal after a write that timed out inside says nothing about that write.
		l.note(name, unknown, refused(status, answer))
		return false
	}
}

// remove deletes what is known to be there.
func (l *Ledger) remove(ctx context.Context, name string) bool {
	if !l.take(name) {
		return true
	}
	status, answer, err := l.api.Do(ctx, http.MethodDelete, l.collection()+"/"+name, nil)
	switch {
	case err != nil:
		l.note(name, unknown, err)
		return false
	case status == http.StatusOK:
		l.note(name, absent, nil)
		return true
	case status == http.StatusNotFound:
		l.note(name, present, nil) // it was acknowledged, and it is not there: Verify will say so
		return false
	default:
		l.note(name, unknown, refused(status, answer))
		return false
	}
}

// take makes a present object unknown, because what happens to it next may stay without an answer.
func (l *Ledger) take(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fates[name] != present {
		return false
	}
	l.fates[name] = unknown
	return true
}

func (l *Ledger) note(name string, f fate, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fates[name] = f
	if err != nil {
		l.last = err
	}
}

func refused(status int, answer []byte) error {
	return fmt.Errorf("status %d: %.300s", status, answer)
}

func value(name string) string { return "of " + name }

// Count is how many creations and deletions were acknowledged and stand, and how many requests got no answer.
func (l *Ledger) Count() (created, deleted, unanswered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.fates {
		switch f {
		case present:
			created++
		case absent:
			deleted++
		case unknown:
			unanswered++
		}
	}
	return created, deleted, unanswered
}

// LastError is what a writer met last, nil when all went well.
func (l *Ledger) LastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Verify compares the record with what the API has. Nobody may write meanwhile.
func (l *Ledger) Verify(ctx context.Context) error {
	found, err := l.list(ctx)
	if err != nil {
		return fmt.Errorf("list what is there: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []string
	for name, f := range l.fates {
		got, there := found[name]
		switch {
		case f == present && !there:
			wrong = append(wrong, name+" was acknowledged and is missing")
		case f == present && got != value(name):
			wrong = append(wrong, fmt.Sprintf("%s has the value %q", name, got))
		case f == absent && there:
			wrong = append(wrong, name+" was deleted and is back")
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("%d of %d objects are not as acknowledged: %s", len(wrong), len(l.fates), strings.Join(wrong[:min(len(wrong), 20)], "; "))
	}
	return nil
}

// list gives the value of each object by its name, a page at a time.
func (l *Ledger) list(ctx context.Context) (map[string]string, error) {
	found := make(map[string]string)
	for token := ""; ; {
		status, body, err := l.api.Do(ctx, http.MethodGet, l.collection()+"?limit=500&continue="+token, nil)
		if err != nil {
			return nil, err
		}
		if status != http.StatusOK {
			return nil, refused(status, body)
		}
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []struct {
				Metadata struct {
					Name string `json:"name"`
				} `json:"metadata"`
				Data map[string]string `json:"data"`
			} `json:"items"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			found[item.Metadata.Name] = item.Data["key"]
		}
		if token = page.Metadata.Continue; token == "" {
			return found, nil
		}
	}
}
