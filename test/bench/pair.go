package main

import (
	"context"
	"errors"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/test/harness"
)

// fastPathGroups measure what each fast path brings: Boxyard as it is beside one without it.
func fastPathGroups() []group {
	var all []group
	for _, path := range config.FastPaths() {
		all = append(all, group{
			name: "fast path " + path,
			start: func(ctx context.Context, _ string) ([]*subject, error) {
				return beside(ctx, "without", "withoutFastPaths: ["+path+"]\n")
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

// ephemeralGroup measures what it is worth not to wait for the disk.
func ephemeralGroup() group {
	return group{
		name: ephemeral,
		start: func(ctx context.Context, _ string) ([]*subject, error) {
			return beside(ctx, ephemeral, ephemeral+": true\n")
		},
		measures: []measure{
			{
				Name: "ephemeral-run", What: "`docker run --rm IMAGE true`, as run measures it, with and without `--ephemeral`",
				Unit: inSeconds, rounds: 20, warm: true, sample: runTrue,
			},
			{
				Name: "ephemeral-pod-ready", What: "A pod until it is Ready, as pod-ready measures it, with and without `--ephemeral`",
				Unit: inSeconds, rounds: 20, warm: true, sample: onePod,
			},
		},
	}
}

const ephemeral = "ephemeral"

// ephemeralStart is cold-start for a CI job that throws everything away.
func ephemeralStart(ctx context.Context, _ *subject) ([]float64, error) {
	return start(ctx, harness.Options{Config: ephemeral + ": true\n"}, nil)
}

// beside is Boxyard as it is, and another with lines of config.yaml.
func beside(ctx context.Context, name, config string) ([]*subject, error) {
	plain, err := newBoxyard(ctx)
	if err != nil {
		return nil, err
	}
	other, err := newConfigured(ctx, name, config)
	if err != nil {
		return nil, errors.Join(err, plain.close())
	}
	return []*subject{plain, other}, nil
}
