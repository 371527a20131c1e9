package main

import (
	"context"
	"fmt"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// settle is how long after a start one says that nothing happens any more.
const settle = 5 * time.Minute

// one is a Boxyard alone.
func one(ctx context.Context, _ string) ([]*subject, error) {
	s, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	return []*subject{s}, nil
}

func costMeasures() []measure {
	return []measure{
		{
			Name: "idle-memory", What: "Anonymous memory of all processes, five minutes after the start",
			Unit: inBytes, Budget: 280e6, rounds: 1, limit: 2 * settle, sample: idleMemory,
		},
		{
			Name: "idle-cpu", What: "CPU time of all processes over one minute, right after that",
			Unit: inCores, Budget: 0.010, rounds: 1, limit: 2 * settle, sample: oneMinute,
		},
		{
			Name: "container-memory", What: "Anonymous memory that one more container costs, without that of its application",
			Unit: inBytes, Budget: 3e6, rounds: 1, limit: 2 * settle, sample: containerMemory,
		},
		{
			Name: "pod-memory", What: "Anonymous memory that one more pod costs, without that of its application",
			Unit: inBytes, Budget: 5e6, rounds: 1, limit: 2 * settle, sample: podMemory,
		},
	}
}

func idleMemory(ctx context.Context, s *subject) ([]float64, error) {
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	bytes, err := s.memory()
	return []float64{bytes}, err
}

// oneMinute is the CPU time that all processes take in it.
func oneMinute(ctx context.Context, s *subject) ([]float64, error) {
	usage, err := s.in.Usage(ctx, time.Minute)
	return []float64{usage.CPU}, err
}

// memory is the anonymous memory of everything but applications, which are all called sleep.
func (s *subject) memory() (float64, error) {
	bytes, err := s.in.AnonBytes(func(p harness.Process) bool { return p.Name != "sleep" })
	return float64(bytes), err
}

// Twenty, so that what a garbage collector does meanwhile weighs little.
const crowd = 20

func containerMemory(ctx context.Context, s *subject) ([]float64, error) {
	return s.growth(ctx, func() error {
		for i := range crowd {
			if _, err := s.exec(ctx, "run", "--detach", "--name", fmt.Sprint("one-", i), image, "sleep", "86400"); err != nil {
				return err
			}
		}
		return nil
	})
}

func podMemory(ctx context.Context, s *subject) ([]float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	return s.growth(ctx, func() error {
		_, err := k.createPods(ctx, "one", 0, crowd)
		return err
	})
}

func (s *subject) growth(ctx context.Context, create func() error) ([]float64, error) {
	// A Boxyard that has just started gives memory back.
	if err := pause(ctx, time.Minute); err != nil {
		return nil, err
	}
	before, err := s.memory()
	if err != nil {
		return nil, err
	}
	if err := create(); err != nil {
		return nil, err
	}
	if err := pause(ctx, 30*time.Second); err != nil {
		return nil, err
	}
	after, err := s.memory()
	return []float64{(after - before) / crowd}, err
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

func densityMeasures() []measure {
	return []measure{
		{
			Name: "density-rate", What: "250 pods on the node, created 25 at a time: pods Ready per second, the most being the best",
			Unit: perSecond, Budget: 8, rounds: 1, limit: 10 * time.Minute, sample: density,
		},
		{
			Name: "density-api", What: "One GET of a pod with 250 pods on the node",
			Unit: inSeconds, BudgetP99: 0.1, rounds: 200, warm: true, sample: getPod,
		},
	}
}

const dense = 250

func density(ctx context.Context, s *subject) ([]float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	const step = 25
	begun := time.Now()
	for from := 0; from < dense; from += step {
		if _, err := k.createPods(ctx, fmt.Sprint("dense-", from), from, step); err != nil {
			return nil, err
		}
	}
	return []float64{dense / time.Since(begun).Seconds()}, nil
}

func getPod(ctx context.Context, s *subject) ([]float64, error) {
	k, err := connected(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	begun := time.Now()
	_, err = k.do(ctx, "GET", pods+"/dense-0-0", nil)
	return []float64{time.Since(begun).Seconds()}, err
}
