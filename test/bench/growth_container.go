package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

func containerGrowth() growth {
	return growth{
		name: "containers", sizes: []int{10, 50, 200, 500}, limit: 20 * time.Minute, reach: reachContainers, clear: clearContainers,
		curves: []curve{
			{
				Name: "containers-ps", What: "`docker ps`, from the client's start to its end", Unit: inSeconds, samples: 10,
				sample: func(ctx context.Context, s *subject, size int) (float64, error) {
					return listContainers(ctx, s, size, "ps")
				},
			},
			{
				Name: "containers-ps-all", What: "`docker ps --all`, from the client's start to its end", Unit: inSeconds, samples: 10,
				sample: func(ctx context.Context, s *subject, size int) (float64, error) {
					return listContainers(ctx, s, size, "ps", "--all")
				},
			},
		},
	}
}

// reachContainers: all of them run, on the default bridge.
func reachContainers(ctx context.Context, s *subject, have, size int) error {
	return several(ctx, 4, have, size, func(ctx context.Context, i int) error {
		_, err := s.exec(ctx, "run", "--detach", "--name", fmt.Sprint("grown-", i), image, "sleep", "86400")
		return err
	})
}

func listContainers(ctx context.Context, s *subject, size int, command ...string) (float64, error) {
	result, err := s.exec(ctx, command...)
	if err != nil {
		return 0, err
	}
	if got := strings.Count(result.Stdout, "\n") - 1; got != size { // one line is the heading
		return 0, fmt.Errorf("docker %s shows %d of %d containers", strings.Join(command, " "), got, size)
	}
	return result.Took.Seconds(), nil
}

// clearContainers: hundreds that have to be stopped take longer than a test gives `boxyard down`.
func clearContainers(ctx context.Context, s *subject) error {
	all, err := s.exec(ctx, "ps", "--all", "--quiet")
	if err != nil {
		return err
	}
	for ids := range slices.Chunk(strings.Fields(all.Stdout), 50) {
		if _, err := s.exec(ctx, append([]string{"rm", "--force"}, ids...)...); err != nil {
			return err
		}
	}
	return nil
}
