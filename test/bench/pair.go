package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/test/harness"
)

// fastPathGroups measure what each fast path brings: Boxyard as it is beside one without it.
func fastPathGroups() []group {
	type use struct {
		what   string
		sample func(context.Context, *subject) ([]float64, error)
	}
	uses := map[string]use{
		config.FastEvents:   {"A pod of one container that ends at once, from the request that creates it to the event that says Succeeded", onePodEnds},
		config.FastProbes:   {"A pod with a readiness probe of the default period, of a server that listens after half a second, until it is Ready", oneProbed},
		config.FastServices: {"From the request that creates a Service to the first answer through its ClusterIP", oneService},
	}
	var all []group
	for _, path := range config.FastPaths() {
		u := use{"A pod until it is Ready, as pod-ready measures it", onePod}
		if own, ok := uses[path]; ok {
			u = own
		}
		measures := []measure{{
			Name: "fast-path-" + path, What: u.what + ", with and without the fast path `" + path + "`",
			Unit: inSeconds, rounds: 20, warm: true, sample: u.sample,
		}}
		if path == config.FastShim {
			measures = append(measures, measure{
				Name: "fast-path-shim-memory", What: "Anonymous memory that one more pod costs, as pod-memory measures it, with and without the fast path `shim`",
				Unit: inBytes, rounds: 1, limit: 2 * settle, sample: podMemory,
			})
		}
		all = append(all, group{
			name: "fast path " + path,
			start: func(ctx context.Context, _ string) ([]*subject, error) {
				return beside(ctx, "without", "withoutFastPaths: ["+path+"]\n")
			},
			measures: measures,
		})
	}
	return all
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
