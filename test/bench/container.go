package main

import (
	"context"
	"errors"
	"time"
)

const (
	image  = "boxyard/base"
	starts = "starts"
)

func groups() []group {
	all := []group{
		{name: starts, start: none, measures: startMeasures()},
		{name: "start with much to start", start: populated, measures: warmMeasures()},
		{name: "containers", start: engines, measures: containerMeasures()},
		{name: "pods", start: clusters, measures: podMeasures()},
		trafficGroup(),
		{name: "from an edit to what users see", start: one, measures: loopMeasures()},
		{name: "what it costs", start: one, measures: costMeasures()},
		{name: "density", start: one, measures: densityMeasures()},
		fileGroup(),
	}
	return append(append(all, ephemeralGroup()), fastPathGroups()...)
}

func containerMeasures() []measure {
	return []measure{
		{
			Name: "run", What: "`docker run --rm IMAGE true` on the default bridge, from the client's start to its end",
			Unit: inSeconds, Budget: 0.090, Peer: moby, Ratio: 0.35, rounds: 40, warm: true,
			sample: runTrue,
		},
		{
			Name: "run-no-network", What: "`docker run --rm --network none IMAGE true`, from the client's start to its end",
			Unit: inSeconds, Budget: 0.050, Peer: moby, Ratio: 0.40, rounds: 40, warm: true,
			sample: func(ctx context.Context, s *subject) ([]float64, error) {
				return seconds(s.exec(ctx, s.with("run", "--rm", "--network", "none", image, "true")...))
			},
		},
		{
			Name: "run-published", What: "`docker run -d -p` of a web server, from the client's start to the first HTTP answer on 127.0.0.1",
			Unit: inSeconds, Peer: moby, Ratio: 0.40, rounds: 20, warm: true, sample: firstAnswer,
		},
		{
			Name: "build-unchanged", What: "`docker build` with nothing changed, from the client's start to its end",
			Unit: inSeconds, Peer: moby, Ratio: 0.70, rounds: 20, warm: true, Except: noPodmanBuild(),
			sample: func(ctx context.Context, s *subject) ([]float64, error) { return build(ctx, s, "same") },
		},
		{
			Name: "build-last-layer", What: "`docker build` with a file of the last layer changed, from the client's start to its end",
			Unit: inSeconds, Peer: moby, Ratio: 0.70, rounds: 20, warm: true, Except: noPodmanBuild(),
			sample: func(ctx context.Context, s *subject) ([]float64, error) {
				return build(ctx, s, time.Now().String())
			},
		},
	}
}

func runTrue(ctx context.Context, s *subject) ([]float64, error) {
	return seconds(s.exec(ctx, s.with("run", "--rm", image, "true")...))
}

// noPodmanBuild: it runs where cgroups are of version 2 only.
func noPodmanBuild() map[string]string {
	return map[string]string{"podman": "its build cannot set device rules on a machine whose cgroups are of both versions"}
}

// with is a command of the client with what the subject needs besides.
func (s *subject) with(command string, args ...string) []string {
	return append(append([]string{command}, s.extra...), args...)
}

// firstAnswer asks from the start on, as an impatient user does.
func firstAnswer(ctx context.Context, s *subject) ([]float64, error) {
	const address = "127.0.0.1:18080"
	start := time.Now()
	answered := make(chan error, 1)
	ask, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var took time.Duration
	go func() {
		err := until(ask, func(ctx context.Context) error { return shows(ctx, s, address, "200 OK") })
		took = time.Since(start)
		answered <- err
	}()
	started, err := s.exec(ctx, s.with("run", "--detach", "--publish", address+":8080", image,
		"sh", "-c", "echo ok >/index.html; exec httpd -f -p 8080 -h /")...)
	if err != nil {
		return nil, err
	}
	err = <-answered
	_, removed := s.exec(ctx, "rm", "--force", lastLine(started.Stdout))
	return []float64{took.Seconds()}, errors.Join(err, removed)
}

// build builds a context of three layers, the last of which holds text.
func build(ctx context.Context, s *subject, text string) ([]float64, error) {
	const dir = "/run/bench-build" // each instance has its own /run
	err := s.write(dir, map[string]string{
		"Dockerfile": "FROM " + image + "\nCOPY first /first\nRUN cat /first >/second\nCOPY app /app\n",
		"first":      "first",
		"app":        text,
	})
	if err != nil {
		return nil, err
	}
	return seconds(s.exec(ctx, s.with("build", "--quiet", "--tag", "bench", dir)...))
}
