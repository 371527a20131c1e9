package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// fileGroup measures the file that users get, and what it takes to build it.
func fileGroup() group {
	f := &file{}
	return group{name: "the file", start: f.start, measures: []measure{
		{
			Name: "binary-size", What: "The size of the file that `make release` makes, in which everything else is packed",
			Unit: inBytes, Budget: 120e6, rounds: 1, sample: f.size,
		},
		{
			Name: "cold-build", What: "`make build` of a fresh clone, with no cache of Go's builds; the modules are there",
			Unit: inSeconds, Budget: 15 * 60, rounds: 1, limit: 2 * time.Hour, sample: f.build,
		},
	}}
}

// file knows whose file it is.
type file struct{ repo string }

func (f *file) start(ctx context.Context, repo string) ([]*subject, error) {
	f.repo = repo
	return none(ctx, repo)
}

func (f *file) size(context.Context, *subject) ([]float64, error) {
	info, err := os.Stat(filepath.Join(f.repo, "build", "release", "boxyard"))
	if err != nil {
		return nil, fmt.Errorf("%w; try: make release", err)
	}
	return []float64{float64(info.Size())}, nil
}

// build builds what is committed.
func (f *file) build(ctx context.Context, _ *subject) (_ []float64, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "boxyard-bench-build-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	clone := filepath.Join(dir, "clone")
	if out, err := exec.CommandContext(ctx, "git", "clone", "--quiet", f.repo, clone).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("git clone: %w\n%s", err, out)
	}
	begun := time.Now()
	cmd := exec.CommandContext(ctx, "make", "build")
	cmd.Dir = clone
	cmd.Env = append(os.Environ(), "GOCACHE="+filepath.Join(dir, "cache"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make build: %w\n%s", err, out)
	}
	return []float64{time.Since(begun).Seconds()}, nil
}
