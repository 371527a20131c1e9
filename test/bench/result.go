package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// results is bench/results.json: what was measured last, and for each measure the time before.
type results struct {
	Date     string             `json:"date"`
	Commit   string             `json:"commit"`
	Machine  machine            `json:"machine"`
	Versions map[string]string  `json:"versions"` // by subject
	Measures map[string]*result `json:"measures"`
	// Curves are figures at several sizes, by name.
	Curves map[string]*curveResult `json:"curves,omitempty"`
}

type machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB int    `json:"memoryMB"`
	Kernel   string `json:"kernel"`
	System   string `json:"system"`
}

// result is what came of one measure.
type result struct {
	measure
	Date    string               `json:"date"`
	Commit  string               `json:"commit"`
	Samples map[string][]float64 `json:"samples"` // by subject, in the order in which they were taken
	// Before is Boxyard's median of the run before, of the commit BeforeCommit; 0 for none.
	Before       float64 `json:"before,omitempty"`
	BeforeCommit string  `json:"beforeCommit,omitempty"`
}

func readResults(file string) (*results, error) {
	r := &results{Versions: map[string]string{}, Measures: map[string]*result{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

func (r *results) write(file string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// begin notes when, of what and on what is measured.
func (r *results) begin(ctx context.Context, repo string) error {
	commit, err := exec.CommandContext(ctx, "git", "-C", repo, "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return fmt.Errorf("which commit this is: %w", err)
	}
	r.Date = time.Now().UTC().Format(time.DateOnly)
	r.Commit = strings.TrimSpace(string(commit))
	r.Machine, err = thisMachine()
	return err
}

func (r *results) record(m measure, samples map[string][]float64) {
	next := &result{measure: m, Date: r.Date, Commit: r.Commit, Samples: samples}
	if last := r.Measures[m.Name]; last != nil {
		next.Before, next.BeforeCommit = summarize(last.Samples[boxyard]).Median, last.Commit
	}
	r.Measures[m.Name] = next
}

func thisMachine() (machine, error) {
	m := machine{Cores: runtime.NumCPU()}
	var info unix.Sysinfo_t
	var name unix.Utsname
	if err := errors.Join(unix.Sysinfo(&info), unix.Uname(&name)); err != nil {
		return m, err
	}
	m.MemoryMB = int(info.Totalram * uint64(info.Unit) >> 20)
	m.Kernel = unix.ByteSliceToString(name.Release[:])
	m.CPU, _ = field("/proc/cpuinfo", "model name", ":")
	system, _ := field("/etc/os-release", "PRETTY_NAME", "=")
	m.System = strings.Trim(system, `"`)
	return m, nil
}

// field is the value of the first line that begins with a key.
func field(file, key, separator string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), separator)
		if strings.TrimSpace(name) == key {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", file, key)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
