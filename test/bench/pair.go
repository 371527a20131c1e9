package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/test/harness"
)

// pair is how a fast path is measured where a pod until it is Ready does not show what it brings.
type pair struct {
	measure
	also  []measure
	start func(context.Context, string) ([]*subject, error) // the subjects, where they are not two that run
}

func pairs() map[string]pair {
	// What a start leaves to do is done in the minute that is thrown away.
	idle := measure{
		What: "CPU time of all processes over one minute in which nothing is done", Unit: inCores, rounds: 3, sample: oneMinute,
	}
	return map[string]pair{
		config.FastEvents: {measure: measure{
			What: "A pod of one container that ends at once, from the request that creates it to the event that says Succeeded", sample: onePodEnds,
		}},
		config.FastProbes: {measure: measure{
			What: "A pod with a readiness probe of the default period, of a server that listens after half a second, until it is Ready", sample: oneProbed,
		}},
		config.FastOpenAPI: {
			measure: measure{
				What: "`boxyard up` on an empty data directory, as cold-start measures it", rounds: 10, sample: startWithout(config.FastOpenAPI),
			},
			start: func(context.Context, string) ([]*subject, error) {
				return []*subject{{name: boxyard}, {name: without}}, nil
			},
		},
		config.FastNFT: {measure: measure{
			What: "`docker run --rm IMAGE true`, as run measures it", sample: runTrue,
		}},
		config.FastServices: {measure: measure{
			What: "From the request that creates a Service to the first answer through its ClusterIP", sample: oneService,
		}},
		config.FastShim: {also: []measure{{
			Name: "fast-path-shim-memory", What: "Anonymous memory that one more pod costs, as pod-memory measures it, with and without the fast path `shim`",
			Unit: inBytes, rounds: 1, limit: 2 * settle, sample: podMemory,
		}}},
		config.FastQueues:      {measure: idle},
		config.FastWatchCaches: {measure: idle},
		config.FastIdle: {measure: idle, also: []measure{{
			Name: "fast-path-idle-pod", What: "A pod until it is Ready, as pod-ready measures it, of a cluster that was idle, with and without the fast path `idle`",
			Unit: inSeconds, rounds: 10, sample: onePodAfterRest,
		}}},
	}
}

// fastPathGroups measure what each fast path brings: Boxyard as it is beside one without it.
func fastPathGroups() []group {
	own := pairs()
	var all []group
	for _, path := range config.FastPaths() {
		p := own[path]
		m := p.measure
		if m.sample == nil {
			m.What, m.sample = "A pod until it is Ready, as pod-ready measures it", onePod
		}
		m.Name = "fast-path-" + path
		m.What += ", with and without the fast path `" + path + "`"
		m.Unit = cmp.Or(m.Unit, inSeconds)
		m.rounds = cmp.Or(m.rounds, 20)
		m.warm = true
		if p.start == nil {
			p.start = func(ctx context.Context, _ string) ([]*subject, error) {
				return beside(ctx, without, withoutFastPath(path))
			}
		}
		all = append(all, group{name: "fast path " + path, start: p.start, measures: append([]measure{m}, p.also...)})
	}
	return all
}

// without is Boxyard without one of its fast paths.
const without = "without"

func withoutFastPath(path string) string { return "withoutFastPaths: [" + path + "]\n" }

// startWithout is cold-start, where the subject says so without the fast path.
func startWithout(path string) func(context.Context, *subject) ([]float64, error) {
	return func(ctx context.Context, s *subject) ([]float64, error) {
		var o harness.Options
		if s.name == without {
			o.Config = withoutFastPath(path)
		}
		return start(ctx, o, nil)
	}
}

// onePodAfterRest waits longer than it takes until a cluster is idle.
func onePodAfterRest(ctx context.Context, s *subject) ([]float64, error) {
	if err := pause(ctx, 15*time.Second); err != nil {
		return nil, err
	}
	return onePod(ctx, s)
}

func onePodEnds(ctx context.Context, s *subject) ([]float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	const label = "app=ends"
	p := k.newPod("ends", "ends")
	p["spec"] = map[string]any{
		"restartPolicy": "Never",
		"containers":    []map[string]any{{"name": "app", "image": image, "command": []string{"true"}}},
	}
	took, err := k.become(ctx, label, 1, pod.succeeded, func() error {
		_, err := k.do(ctx, http.MethodPost, pods, p)
		return err
	})
	return took, errors.Join(err, k.remove(ctx, label))
}

func oneProbed(ctx context.Context, s *subject) ([]float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	const label = "app=probed"
	p := k.newPod("probed", "probed")
	p["spec"] = map[string]any{
		"terminationGracePeriodSeconds": 0,
		"containers": []map[string]any{{
			"name": "app", "image": image, "command": []string{"sh", "-c", "sleep 0.5; exec httpd -f -p 8080 -h /etc"},
			"readinessProbe": map[string]any{"tcpSocket": map[string]any{"port": 8080}},
		}},
	}
	took, err := k.becomeReady(ctx, label, 1, func() error {
		_, err := k.do(ctx, http.MethodPost, pods, p)
		return err
	})
	return took, errors.Join(err, k.remove(ctx, label))
}

func oneService(ctx context.Context, s *subject) ([]float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	if _, err := k.do(ctx, http.MethodGet, pods+"/grown-0", nil); err != nil {
		if err := k.serveGrown(ctx); err != nil {
			return nil, err
		}
	}
	took, err := syncService(ctx, s, 0)
	return []float64{took}, err
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
