package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// growth is what there is more and more of in one Boxyard: its sizes are reached one after the other, and at each of
// them every curve gets its samples.
type growth struct {
	name  string // what there is more of, in the plural
	sizes []int
	limit time.Duration // of reaching one size, and of measuring at it
	// reach makes size of them, of which there are have already.
	reach  func(ctx context.Context, s *subject, have, size int) error
	curves []curve
	// clear takes away what would keep the instance from ending in time; nil for nothing.
	clear func(ctx context.Context, s *subject) error
}

// curve is one figure that is taken at each size of its growth.
type curve struct {
	Name string `json:"name"`
	What string `json:"what"` // a sentence: from where to where
	Unit unit   `json:"unit"`

	samples int // at each size
	sample  func(ctx context.Context, s *subject, size int) (float64, error)
}

// curveResult is what came of one curve.
type curveResult struct {
	curve
	Of     string  `json:"of"` // what there was more of
	Date   string  `json:"date"`
	Commit string  `json:"commit"`
	Points []point `json:"points"` // the smallest size first
}

// point has the samples at one size.
type point struct {
	Name    string               `json:"name"` // the curve's, and the size
	Size    int                  `json:"size"`
	Samples map[string][]float64 `json:"samples"` // by subject
}

func growths() []growth {
	return []growth{serviceGrowth(), containerGrowth(), objectGrowth()}
}

// grow measures each growth that has a curve that is wanted, with an instance of its own.
func (b *bench) grow(ctx context.Context) error {
	for _, g := range growths() {
		var wanted []curve
		for _, c := range g.curves {
			if b.opts.only.MatchString(c.Name) {
				wanted = append(wanted, c)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		if err := b.growOne(ctx, g, wanted); err != nil {
			return fmt.Errorf("more and more %s: %w", g.name, err)
		}
	}
	return nil
}

func (b *bench) growOne(ctx context.Context, g growth, wanted []curve) (err error) {
	say("==> more and more %s", g.name)
	s, err := newBoxyard(ctx)
	if err != nil {
		return err
	}
	b.results.Versions[s.name] = s.version
	points := map[string][]point{}
	defer func() {
		if g.clear != nil {
			// Also after an interrupt.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
			defer cancel()
			err = errors.Join(err, g.clear(ctx, s))
		}
		err = errors.Join(err, s.close())
		// What was measured before an error is worth keeping.
		b.results.recordCurves(g, wanted, points)
	}()
	have := 0
	for _, size := range g.sizes {
		if err := b.atSize(ctx, g, wanted, s, have, size, points); err != nil {
			return fmt.Errorf("at %d: %w", size, err)
		}
		have = size
	}
	return nil
}

func (b *bench) atSize(ctx context.Context, g growth, wanted []curve, s *subject, have, size int, points map[string][]point) error {
	ctx, cancel := context.WithTimeout(ctx, g.limit)
	defer cancel()
	begun := time.Now()
	if err := g.reach(ctx, s, have, size); err != nil {
		return err
	}
	say("%d %s, reached in %s", size, g.name, time.Since(begun).Round(100*time.Millisecond))
	for _, c := range wanted {
		p := point{Name: fmt.Sprintf("%s-%d", c.Name, size), Size: size, Samples: map[string][]float64{}}
		for range cmp.Or(b.opts.rounds, c.samples) {
			value, err := c.sample(ctx, s, size)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			p.Samples[s.name] = append(p.Samples[s.name], value)
		}
		points[c.Name] = append(points[c.Name], p)
		say("%-28s %-12s %s", p.Name, s.name, summarize(p.Samples[s.name]).in(c.Unit))
	}
	return nil
}

func (r *results) recordCurves(g growth, curves []curve, points map[string][]point) {
	if r.Curves == nil {
		r.Curves = map[string]*curveResult{}
	}
	for _, c := range curves {
		if len(points[c.Name]) > 0 {
			r.Curves[c.Name] = &curveResult{curve: c, Of: g.name, Date: r.Date, Commit: r.Commit, Points: points[c.Name]}
		}
	}
}

// calm is how long after many have come one waits before memory is looked at: what came with them has been
// collected then, and what had to be told of them has been told.
const calm = 20 * time.Second

// memoryCurve is the anonymous memory of the whole instance, but for applications.
func memoryCurve(name, of string) curve {
	return curve{
		Name: name, What: "Anonymous memory of all processes but applications, some time after the last of the " + of, Unit: inBytes, samples: 1,
		sample: func(ctx context.Context, s *subject, _ int) (float64, error) {
			if err := pause(ctx, calm); err != nil {
				return 0, err
			}
			return s.memory()
		},
	}
}

// several calls do for each number from..to-1, so many at a time.
func several(ctx context.Context, atOnce, from, to int, do func(ctx context.Context, i int) error) error {
	group, inGroup := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := from; i < to && inGroup.Err() == nil; i++ {
		group.Go(func() error { return do(inGroup, i) })
	}
	return cmp.Or(group.Wait(), ctx.Err())
}
