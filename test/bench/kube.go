package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

const pods = "/api/v1/namespaces/default/pods"

// kube is what measures ask of a subject's Kubernetes API, over one connection that stays open.
type kube struct {
	api  *harness.API
	pull string // as in subject
}

func kubeOf(ctx context.Context, s *subject) (kube, error) {
	client := s.in.API
	if s.api != nil {
		client = s.api
	}
	api, err := client(ctx)
	return kube{api: api, pull: s.pull}, err
}

// connected is kubeOf with a connection that is there already, for what is measured from the request on.
func connected(ctx context.Context, s *subject) (kube, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return k, err
	}
	if _, err := k.do(ctx, http.MethodGet, "/readyz", nil); err != nil {
		k.api.Close()
		return k, err
	}
	return k, nil
}

// do sends an object, or none, and wants an answer of status 2xx.
func (k kube) do(ctx context.Context, method, path string, object any) ([]byte, error) {
	var body []byte
	if object != nil {
		var err error
		if body, err = json.Marshal(object); err != nil {
			return nil, err
		}
	}
	status, answer, err := k.api.Do(ctx, method, path, body)
	if err == nil && (status < 200 || status > 299) {
		err = fmt.Errorf("%s %s: status %d: %s", method, path, status, answer)
	}
	return answer, err
}

// pod is as much of a pod as is looked at.
type pod struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Phase      string `json:"phase"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (p pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func (p pod) succeeded() bool { return p.Status.Phase == "Succeeded" }

// becomeReady gives for each of the count pods that create makes the seconds until it is Ready.
func (k kube) becomeReady(ctx context.Context, label string, count int, create func() error) ([]float64, error) {
	return k.become(ctx, label, count, pod.ready, create)
}

// become watches the pods with a label while it calls create, and gives for each of the count pods the seconds from
// that call to the event with which it is what it is to be.
func (k kube) become(ctx context.Context, label string, count int, is func(pod) bool, create func() error) ([]float64, error) {
	// Ending it ends the watch.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list, err := k.do(ctx, http.MethodGet, pods+"?limit=1", nil)
	if err != nil {
		return nil, err
	}
	var at pod
	if err := json.Unmarshal(list, &at); err != nil {
		return nil, err
	}
	query := url.Values{"watch": {"1"}, "labelSelector": {label}, "resourceVersion": {at.Metadata.ResourceVersion}}
	events, err := k.api.Open(ctx, http.MethodGet, pods+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = events.Body.Close() }()
	start := time.Now()
	created := make(chan error, 1)
	go func() {
		err := create()
		if err != nil {
			cancel()
		}
		created <- err
	}()
	took, err := readUntil(events.Body, count, is, start)
	return took, errors.Join(<-created, err)
}

func readUntil(events io.Reader, count int, is func(pod) bool, start time.Time) ([]float64, error) {
	var took []float64
	seen := map[string]bool{}
	for decoder := json.NewDecoder(events); len(took) < count; {
		var event struct {
			Object pod `json:"object"`
		}
		if err := decoder.Decode(&event); err != nil {
			return nil, fmt.Errorf("watch pods, %d of %d have come that far: %w", len(took), count, err)
		}
		if name := event.Object.Metadata.Name; is(event.Object) && !seen[name] {
			seen[name] = true
			took = append(took, time.Since(start).Seconds())
		}
	}
	return took, nil
}

// newPod is a pod that does nothing, from the image that is there always.
func (k kube) newPod(name, app string) map[string]any {
	container := map[string]any{"name": "app", "image": image, "command": []string{"sleep", "86400"}}
	if k.pull != "" {
		container["imagePullPolicy"] = k.pull
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "labels": map[string]string{"app": app}},
		"spec": map[string]any{
			"terminationGracePeriodSeconds": 1, // without, the object goes at once, and the kubelet ends the containers later
			"containers":                    []map[string]any{container},
		},
	}
}

// remove deletes the pods with a label and waits until they are gone, and their containers with them: what is measured next
// is not to share the processors with their end.
func (k kube) remove(ctx context.Context, label string) error {
	selector := "labelSelector=" + url.QueryEscape(label)
	if _, err := k.do(ctx, http.MethodDelete, pods+"?"+selector, nil); err != nil {
		return err
	}
	return every(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		answer, err := k.do(ctx, http.MethodGet, pods+"?"+selector, nil)
		if err != nil {
			return err
		}
		var list struct {
			Items []pod `json:"items"`
		}
		if err := json.Unmarshal(answer, &list); err != nil {
			return err
		}
		if len(list.Items) > 0 {
			return fmt.Errorf("%d pods are left", len(list.Items))
		}
		return nil
	})
}
