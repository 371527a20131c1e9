package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// none is for measures that start and stop what they measure.
func none(context.Context, string) ([]*subject, error) { return []*subject{{name: boxyard}}, nil }

func startMeasures() []measure {
	return []measure{
		{
			Name: "first-start", What: "The first `boxyard up` on a machine, extraction included, until the node is Ready and DNS answers",
			Unit: inSeconds, Budget: 3.5, rounds: 5,
			sample: func(ctx context.Context, _ *subject) ([]float64, error) {
				return start(ctx, harness.Options{NoPayload: true}, nil)
			},
		},
		{
			Name: "cold-start", What: "`boxyard up` on an empty data directory, extracted before, until the node is Ready and DNS answers",
			Unit: inSeconds, Budget: 2.0, rounds: 10,
			sample: func(ctx context.Context, _ *subject) ([]float64, error) { return start(ctx, harness.Options{}, nil) },
		},
		{
			Name: "cold-start-ephemeral", What: "cold-start with `boxyard up --ephemeral`, which does not wait for the disk",
			Unit: inSeconds, rounds: 10, sample: ephemeralStart,
		},
		{
			Name: "cold-first-pod", What: "The same until the first pod, which is created right after `boxyard up`, is Ready",
			Unit: inSeconds, Budget: 2.5, rounds: 10,
			sample: func(ctx context.Context, _ *subject) ([]float64, error) {
				return start(ctx, harness.Options{}, firstPod)
			},
		},
	}
}

// start takes the time of `up` on a new instance, and of what comes right after it.
func start(ctx context.Context, o harness.Options, then func(context.Context, *subject) error) (_ []float64, err error) {
	in, err := harness.Start(o)
	if err != nil {
		return nil, err
	}
	s := &subject{name: boxyard, in: in}
	defer func() { err = errors.Join(err, s.close()) }()
	begun := time.Now()
	if err := up(ctx, s); err != nil {
		return nil, err
	}
	if then != nil {
		if err := then(ctx, s); err != nil {
			return nil, err
		}
	}
	took := time.Since(begun).Seconds()
	_, err = in.Lookup(ctx, "kubernetes.default.svc.cluster.local")
	return []float64{took}, err
}

func up(ctx context.Context, s *subject) error {
	result, err := s.in.Up(ctx)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("boxyard up: exit code %d\n%s", result.Code, result.Output())
	}
	return err
}

func firstPod(ctx context.Context, s *subject) error {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return err
	}
	defer k.api.Close()
	_, err = k.becomeReady(ctx, "app=first", 1, func() error {
		_, err := k.do(ctx, http.MethodPost, pods, k.newPod("first", "first"))
		return err
	})
	return err
}

func warmMeasures() []measure {
	return []measure{{
		Name: "warm-start", What: "`boxyard up` after `down`, with 20 pods and 10 containers in the state, until the API answers and the node is Ready",
		Unit: inSeconds, Budget: 1.2, rounds: 5, limit: 5 * time.Minute, sample: warmStart,
	}}
}

// populated is Boxyard with 20 pods and 10 containers.
func populated(ctx context.Context, _ string) ([]*subject, error) {
	s, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	err = fill(ctx, s)
	return []*subject{s}, err
}

func fill(ctx context.Context, s *subject) error {
	for i := range 10 {
		_, err := s.exec(ctx, "run", "--detach", "--restart", "unless-stopped", "--name", fmt.Sprint("kept-", i), image, "sleep", "86400")
		if err != nil {
			return err
		}
	}
	k, err := kubeOf(ctx, s)
	if err != nil {
		return err
	}
	defer k.api.Close()
	_, err = k.createPods(ctx, "kept", 0, 20)
	return err
}

func warmStart(ctx context.Context, s *subject) ([]float64, error) {
	if _, err := s.in.Boxyard(ctx, "down"); err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := up(ctx, s); err != nil {
		return nil, err
	}
	return []float64{time.Since(begun).Seconds()}, nil
}
