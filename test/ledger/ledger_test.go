package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// memory is an API that keeps ConfigMaps, and can be made to lose things.
type memory struct {
	mu      sync.Mutex
	objects map[string]map[string]any
	calls   int
	stop    func()
	limit   int  // calls, after which the writers are stopped
	fail    bool // every fifth call is done and gets no answer
}

func (m *memory) Do(_ context.Context, method, url string, body []byte) (int, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls++; m.calls == m.limit {
		m.stop()
	}
	url, _, _ = strings.Cut(url, "?")
	status, answer := m.serve(method, url, body)
	if m.fail && m.calls%5 == 0 && method != "GET" {
		return 0, nil, errors.New("connection reset")
	}
	return status, answer, nil
}

func (m *memory) serve(method, url string, body []byte) (int, []byte) {
	switch method {
	case "POST":
		var object map[string]any
		if err := json.Unmarshal(body, &object); err != nil {
			return 400, nil
		}
		m.objects[object["metadata"].(map[string]any)["name"].(string)] = object
		return 201, nil
	case "DELETE":
		if _, ok := m.objects[path.Base(url)]; !ok {
			return 404, nil
		}
		delete(m.objects, path.Base(url))
		return 200, nil
	default:
		answer, err := json.Marshal(map[string]any{"items": slices.Collect(maps.Values(m.objects))})
		if err != nil {
			return 500, nil
		}
		return 200, answer
	}
}

func written(t *testing.T, fail bool) (*memory, *Ledger) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	m := &memory{objects: map[string]map[string]any{}, stop: stop, limit: 200, fail: fail}
	l := New(m, "test", 10)
	l.Write(ctx, 3)
	return m, l
}

func TestVerify(t *testing.T) {
	m, l := written(t, true)
	created, deleted, unanswered := l.Count()
	if created < 50 || deleted < 10 || unanswered < 20 {
		t.Errorf("created %d, deleted %d, unanswered %d", created, deleted, unanswered)
	}
	if l.LastError() == nil {
		t.Error("no error is remembered")
	}
	if err := l.Verify(t.Context()); err != nil {
		t.Errorf("nothing was lost: %v", err)
	}
	m.objects["of-others"] = map[string]any{"metadata": map[string]any{"name": "of-others"}}
	if err := l.Verify(t.Context()); err != nil {
		t.Errorf("what others made is theirs: %v", err)
	}
}

func TestVerifySeesLosses(t *testing.T) {
	for name, lose := range map[string]func(*memory, *Ledger){
		"is missing": func(m *memory, l *Ledger) { delete(m.objects, l.one(present)) },
		"is back": func(m *memory, l *Ledger) {
			m.objects["x"] = map[string]any{"metadata": map[string]any{"name": l.one(absent)}}
		},
		"has the value": func(m *memory, l *Ledger) {
			m.objects[l.one(present)]["data"] = map[string]any{"key": "another"}
		},
	} {
		m, l := written(t, false)
		lose(m, l)
		if err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (l *Ledger) one(f fate) string {
	for name, got := range l.fates {
		if got == f {
			return name
		}
	}
	return ""
}
