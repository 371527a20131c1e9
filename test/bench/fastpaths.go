package main

import (
	"context"
	"errors"

	"github.com/boxyard/boxyard/internal/config"
)

// fastPathGroups measure what each fast path brings: Boxyard as it is beside one without it.
func fastPathGroups() []group {
	var all []group
	for _, path := range config.FastPaths() {
		all = append(all, group{
			name: "fast path " + path,
			start: func(ctx context.Context, _ string) ([]*subject, error) {
				return withAndWithout(ctx, path)
			},
			measures: []measure{{
				Name: "fast-path-" + path,
				What: "A pod until it is Ready, as pod-ready measures it, with and without the fast path `" + path + "`",
				Unit: inSeconds, rounds: 20, warm: true, sample: onePod,
			}},
		})
	}
	return all
}

func withAndWithout(ctx context.Context, path string) ([]*subject, error) {
	with, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	without, err := newConfigured(ctx, "without", "withoutFastPaths: ["+path+"]\n")
	if err != nil {
		return nil, errors.Join(err, with.close())
	}
	return []*subject{with, without}, nil
}
