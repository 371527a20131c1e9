package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// onHost is the same server without a pod: in the namespaces of the instance, which has no other host.
const onHost = "host"

// traffic has the addresses of one server, in a pod and outside.
type traffic struct {
	in      *harness.Instance
	wrk     string            // the root of its packages
	address map[string]string // by subject
}

func trafficGroup() group {
	t := &traffic{address: map[string]string{}}
	return group{name: "traffic", start: t.start, measures: []measure{{
		Name: "service-traffic",
		What: "`wrk` with two threads and sixteen connections for ten seconds, all on the same cores: requests per second to the server of examples/hello in a pod, through its ClusterIP, and to the same program outside of pods, on 127.0.0.1; the most being the best",
		Unit: perSecond, Peer: onHost, Ratio: 0.9, rounds: 6, warm: true, sample: t.sample,
	}}}
}

// start gives one instance as two subjects, of which the second owns nothing.
func (t *traffic) start(ctx context.Context, repo string) (_ []*subject, err error) {
	t.wrk = filepath.Join(repo, "build", "bench", "wrk")
	s, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	t.in = s.in
	all := []*subject{s, {name: onHost, version: "the server of examples/hello, in no pod"}}
	if _, err := s.exec(ctx, "build", "--quiet", "--tag", "bench-web:v1", filepath.Join(repo, "examples", "hello")); err != nil {
		return all, fmt.Errorf("%w; try: make examples", err)
	}
	if t.address[boxyard], err = t.serveInPod(ctx, s); err != nil {
		return all, err
	}
	t.address[onHost], err = t.serveOnHost(ctx, s, filepath.Join(repo, "examples", "hello", "bin", "web"))
	return all, err
}

// serveInPod gives the ClusterIP and port.
func (t *traffic) serveInPod(ctx context.Context, s *subject) (string, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return "", err
	}
	defer k.api.Close()
	p := k.newPod("traffic", "traffic")
	p["spec"] = map[string]any{
		"terminationGracePeriodSeconds": 0,
		"containers":                    []map[string]any{{"name": "web", "image": "bench-web:v1"}},
	}
	_, err = k.becomeReady(ctx, "app=traffic", 1, func() error {
		_, err := k.do(ctx, http.MethodPost, pods, p)
		return err
	})
	if err != nil {
		return "", err
	}
	made, err := k.do(ctx, http.MethodPost, services, webService("traffic", "traffic"))
	if err != nil {
		return "", err
	}
	address, err := addressOf(made)
	if err != nil {
		return "", err
	}
	return address, s.awaitWeb(ctx, address)
}

// serveOnHost starts the program that is in the image, with the assets that are in the image, and has s stop it.
func (t *traffic) serveOnHost(ctx context.Context, s *subject, program string) (string, error) {
	const address, assets = "127.0.0.1:18090", "/run/bench-web"
	for _, args := range [][]string{
		{"create", "--name", "bench-web", "bench-web:v1"},
		{"cp", "bench-web:/srv", assets},
		{"rm", "bench-web"},
	} {
		if _, err := s.exec(ctx, args...); err != nil {
			return "", err
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "boxyard-bench-web-")
	if err != nil {
		return "", err
	}
	s.dir, s.release = dir, func() error { return os.RemoveAll(dir) }
	err = s.serve(ctx, "/usr/bin/env", "PORT=18090", "ADMIN=127.0.0.1:18091", "ASSETS="+assets, program)
	if err != nil {
		return "", err
	}
	return address, s.awaitWeb(ctx, address)
}

func (s *subject) awaitWeb(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return every(ctx, 20*time.Millisecond, func(ctx context.Context) error { return shows(ctx, s, address, "200 OK") })
}

// sample runs wrk in the root of its packages, so that it finds its own libraries.
func (t *traffic) sample(ctx context.Context, s *subject) ([]float64, error) {
	result, err := t.in.Exec(ctx, harness.Command{
		Name: "chroot",
		Args: []string{t.wrk, "/usr/bin/wrk", "--threads", "2", "--connections", "16", "--duration", "10s", "http://" + t.address[s.name] + "/healthz"},
	})
	if err != nil {
		return nil, err
	}
	if result.Code != 0 {
		return nil, fmt.Errorf("wrk: exit code %d; try: make bench\n%s", result.Code, result.Output())
	}
	rate, err := wrkRate(result.Stdout)
	return []float64{rate}, err
}

// wrkRate reads wrk's report, in which an answer that failed makes all of it worthless.
func wrkRate(report string) (float64, error) {
	rate := 0.0
	for line := range strings.Lines(report) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "Requests/sec":
			var err error
			if rate, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
				return 0, fmt.Errorf("wrk: %w", err)
			}
		case "Socket errors", "Non-2xx or 3xx responses":
			return 0, fmt.Errorf("wrk: %s: %s", name, strings.TrimSpace(value))
		}
	}
	if rate == 0 {
		return 0, fmt.Errorf("wrk says no rate:\n%s", report)
	}
	return rate, nil
}
