package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/boxyard/boxyard/test/harness"
)

const (
	boxyard    = "boxyard"
	moby       = "moby"
	kubernetes = "kubernetes"
)

// newBoxyard starts Boxyard as a user has it after `boxyard up`.
func newBoxyard(ctx context.Context) (*subject, error) {
	return newConfigured(ctx, boxyard, "")
}

// newConfigured is Boxyard with lines of config.yaml.
func newConfigured(ctx context.Context, name, config string) (*subject, error) {
	in, err := harness.StartUp(ctx, harness.Options{Config: config})
	if err != nil {
		return nil, err
	}
	s := &subject{name: name, in: in, client: []string{"/var/lib/boxyard/bin/docker"}}
	version, err := in.Boxyard(ctx, "version")
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	// The first line is "boxyard", and its version.
	if fields := strings.Fields(version); len(fields) > 1 {
		s.version = fields[1]
	}
	return s, nil
}

// engines are Boxyard and the peers of its Docker half, all with the image boxyard/base.
func engines(ctx context.Context, repo string) (all []*subject, err error) {
	box, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	all = append(all, box)
	defer func() {
		if err != nil {
			for _, s := range all {
				err = errors.Join(err, s.close())
			}
			all = nil
		}
	}()
	archive, err := os.MkdirTemp("/var/tmp", "boxyard-bench-")
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(archive)) }()
	image := filepath.Join(archive, "base.tar")
	if _, err := box.exec(ctx, "save", "--output", image, "boxyard/base"); err != nil {
		return all, err
	}
	for _, start := range []func(context.Context, string) (*subject, error){newMoby, newDebianDocker, newPodman} {
		s, err := start(ctx, repo)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		if _, err := s.exec(ctx, "load", "--input", image); err != nil {
			return all, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return all, nil
}

// clusters are Boxyard and the peer of its Kubernetes half, both with the image boxyard/base.
func clusters(ctx context.Context, repo string) ([]*subject, error) {
	box, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	stock, err := newKubernetes(ctx, repo)
	if err != nil {
		return nil, errors.Join(err, box.close())
	}
	return []*subject{box, stock}, nil
}
