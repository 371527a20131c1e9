package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

// Record has what came of each spec in one run, across interruptions: all attempts, the last one last.
type Record struct {
	path     string
	attempts map[string][]Result
}

// OpenRecord reads the record at path, or starts one.
func OpenRecord(path string) (*Record, error) {
	r := &Record{path: path, attempts: map[string][]Result{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &r.attempts); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

// Add adds an attempt at each of these specs, and writes the record.
func (r *Record) Add(results map[string]Result) error {
	if len(results) == 0 {
		return nil
	}
	for name, result := range results {
		r.attempts[name] = append(r.attempts[name], result)
	}
	data, err := json.MarshalIndent(r.attempts, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(r.path, data, 0o644)
}

// Last is what came of the latest attempt.
func (r *Record) Last(name string) (Result, bool) {
	attempts := r.attempts[name]
	if len(attempts) == 0 {
		return Result{}, false
	}
	return attempts[len(attempts)-1], true
}

// Attempts is how often a spec has run.
func (r *Record) Attempts(name string) int { return len(r.attempts[name]) }

// Missing are the specs without a result, and, with again, those that failed.
func (r *Record) Missing(specs []Spec, again bool) []Spec {
	var missing []Spec
	for _, s := range specs {
		last, ran := r.Last(s.Name)
		if !ran || again && last.State == Failed {
			missing = append(missing, s)
		}
	}
	return missing
}

// Summary counts results, for people.
func Summary(results map[string]Result) string {
	n := map[State]int{}
	for _, r := range results {
		n[r.State]++
	}
	return fmt.Sprintf("%d passed, %d failed, %d skipped", n[Passed], n[Failed], n[Skipped])
}
