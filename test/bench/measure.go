package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// measure is one figure that is taken of each subject of its group.
type measure struct {
	Name string `json:"name"`
	What string `json:"what"` // a sentence: from where to where
	Unit unit   `json:"unit"`
	// Budget is what Boxyard's median may be at most, or at least where more is better (unit.more); 0 for none.
	Budget float64 `json:"budget,omitempty"`
	// BudgetP99 is what its 99th percentile may be at most; 0 for none.
	BudgetP99 float64 `json:"budgetP99,omitempty"`
	// Peer and Ratio say that Boxyard's median may be at most, or at least, Ratio times that of Peer.
	Peer  string  `json:"peer,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`

	// Except are subjects that cannot do this here, each with the reason.
	Except map[string]string `json:"except,omitempty"`

	rounds int
	warm   bool          // a round before the first is not counted
	limit  time.Duration // of one sample; 0 is two minutes
	// sample gives one value, or several that belong together, such as one for each pod.
	sample func(ctx context.Context, s *subject) ([]float64, error)
}

// group is what is measured of subjects that live at the same time.
type group struct {
	name     string
	start    func(ctx context.Context, repo string) ([]*subject, error)
	measures []measure
}

// subject is what is measured. Close it.
type subject struct {
	name    string
	version string
	in      *harness.Instance
	dir     string // of what a peer stores and logs; "" for Boxyard
	// client is the command line that comes before a command of docker or podman.
	client []string
	env    []string
	// extra are the flags of its run and build.
	extra []string
	// api is the administrator's; nil takes Boxyard's.
	api func(ctx context.Context) (*harness.API, error)
	// pull is the imagePullPolicy of its pods; "" takes Kubernetes' default.
	pull string
	// drain is what close calls first, to wait for what is ending; may be nil.
	drain func() error
	// daemons are what was started beside Boxyard; close stops them, the last one first.
	daemons []*daemon
	// release is called at the very end, when nothing of the subject lives any more; may be nil.
	release func() error
}

// exec runs a command of the subject's client; a code that is not 0 is an error.
func (s *subject) exec(ctx context.Context, args ...string) (harness.Result, error) {
	return s.run(ctx, append(append([]string{}, s.client...), args...)...)
}

func (s *subject) run(ctx context.Context, command ...string) (harness.Result, error) {
	result, err := s.in.Exec(ctx, harness.Command{Name: command[0], Args: command[1:], Env: s.env})
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("%v: exit code %d\n%s", command, result.Code, result.Output())
	}
	return result, err
}

func (s *subject) close() error {
	var errs []error
	if s.drain != nil {
		errs = append(errs, s.drain())
	}
	for _, d := range slices.Backward(s.daemons) {
		errs = append(errs, d.stop())
	}
	if s.in != nil {
		errs = append(errs, s.in.Close())
	}
	if s.release != nil {
		errs = append(errs, s.release())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", s.name, err)
	}
	return nil
}

// seconds makes a sample of how long a command took.
func seconds(result harness.Result, err error) ([]float64, error) {
	if err != nil {
		return nil, err
	}
	return []float64{result.Took.Seconds()}, nil
}

// until calls check every two milliseconds until it gives nil, and returns its last error when ctx ends.
func until(ctx context.Context, check func(context.Context) error) error {
	return every(ctx, 2*time.Millisecond, check)
}

// every is until for what needs no such haste.
func every(ctx context.Context, pause time.Duration, check func(context.Context) error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}
