package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func podMeasures() []measure {
	return []measure{
		{
			Name: "pod-ready", What: "A pod of an image that is here, from the request that creates it to the watch event that says Ready",
			Unit: inSeconds, Budget: 0.200, BudgetP99: 0.400, Peer: kubernetes, Ratio: 0.35, rounds: 40, warm: true, sample: onePod,
		},
		{
			Name: "pods-20", What: "Twenty pods created at once, from the first request to the event that says that the last is Ready",
			Unit: inSeconds, Budget: 2.0, rounds: 5, warm: true, limit: 5 * time.Minute, sample: twentyPods,
		},
	}
}

func onePod(ctx context.Context, s *subject) ([]float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	const label = "app=one"
	took, err := k.becomeReady(ctx, label, 1, func() error {
		_, err := k.do(ctx, http.MethodPost, pods, k.newPod("one", "one"))
		return err
	})
	return took, errors.Join(err, k.remove(ctx, label))
}

func twentyPods(ctx context.Context, s *subject) ([]float64, error) {
	const label, count = "app=twenty", 20
	k, err := kubeOf(ctx, s)
	if err != nil {
		return nil, err
	}
	defer k.api.Close()
	took, err := k.createPods(ctx, "twenty", 0, count)
	if err != nil {
		return nil, err
	}
	return []float64{slices.Max(took)}, k.remove(ctx, label)
}

// createPods creates pods number from to from+count-1 at once and waits until all are Ready.
func (k kube) createPods(ctx context.Context, app string, from, count int) ([]float64, error) {
	return k.becomeReady(ctx, "app="+app, count, func() error {
		errs := make([]error, count)
		var all sync.WaitGroup
		for i := range count {
			all.Go(func() {
				_, errs[i] = k.do(ctx, http.MethodPost, pods, k.newPod(fmt.Sprintf("%s-%d", app, from+i), app))
			})
		}
		all.Wait()
		return errors.Join(errs...)
	})
}

func loopMeasures() []measure {
	return []measure{
		{
			Name: "edit-running",
			What: "A changed file, `docker build`, `kubectl set image`, until the Service shows the new page",
			Unit: inSeconds, Budget: 1.0, rounds: 15, warm: true, sample: editToRunning,
		},
		{
			Name: "rollout-10", What: "A rolling update of ten replicas, with a readiness probe, from `kubectl set env` to the end of `kubectl rollout status`",
			Unit: inSeconds, Budget: 4.0, rounds: 5, warm: true, limit: 5 * time.Minute, sample: rollTen,
		},
	}
}

const page = `FROM boxyard/base
COPY index.html /www/index.html
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
`

// editToRunning is a developer's loop: the tag is another one each time, as with every tool that watches files.
func editToRunning(ctx context.Context, s *subject) ([]float64, error) {
	tag := "edit:" + strconv.FormatInt(time.Now().UnixNano(), 36)
	dir := "/run/bench-edit"
	if err := s.write(dir, map[string]string{"Dockerfile": page, "index.html": tag}); err != nil {
		return nil, err
	}
	first, err := s.in.Kubectl(ctx, "get", "deployment", "edit", "--ignore-not-found", "--output", "name")
	if err != nil {
		return nil, err
	}
	if first == "" {
		return firstEdit(ctx, s, dir, tag)
	}
	address, err := s.in.Kubectl(ctx, "get", "service", "edit", "--output", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if _, err := s.exec(ctx, "build", "--quiet", "--tag", tag, dir); err != nil {
		return nil, err
	}
	if _, err := s.in.Kubectl(ctx, "set", "image", "deployment/edit", "edit="+tag); err != nil {
		return nil, err
	}
	err = until(ctx, func(ctx context.Context) error { return shows(ctx, s, address+":80", tag) })
	return []float64{time.Since(start).Seconds()}, err
}

func firstEdit(ctx context.Context, s *subject, dir, tag string) ([]float64, error) {
	if _, err := s.exec(ctx, "build", "--quiet", "--tag", tag, dir); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"create", "deployment", "edit", "--image", tag},
		{"set", "env", "deployment/edit", "A=1"},
		{"expose", "deployment", "edit", "--port", "80", "--target-port", "8080"},
		{"rollout", "status", "deployment/edit", "--timeout", "60s"},
	} {
		if _, err := s.in.Kubectl(ctx, args...); err != nil {
			return nil, err
		}
	}
	// `create deployment` names the container after the image.
	return []float64{0}, nil
}

func rollTen(ctx context.Context, s *subject) ([]float64, error) {
	found, err := s.in.Kubectl(ctx, "get", "deployment", "ten", "--ignore-not-found", "--output", "name")
	if err != nil {
		return nil, err
	}
	if found == "" {
		if err := s.write("/run/bench-ten", map[string]string{"ten.yaml": ten}); err != nil {
			return nil, err
		}
		for _, args := range [][]string{
			{"apply", "--filename", "/run/bench-ten/ten.yaml"},
			{"rollout", "status", "deployment/ten", "--timeout", "120s"},
		} {
			if _, err := s.in.Kubectl(ctx, args...); err != nil {
				return nil, err
			}
		}
	}
	// What the round before has left to end is no part of this one.
	if err := every(ctx, time.Second, func(ctx context.Context) error { return tenAlone(ctx, s) }); err != nil {
		return nil, err
	}
	address, err := s.in.Kubectl(ctx, "get", "service", "ten", "--output", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return nil, err
	}
	stop := askMeanwhile(ctx, s, "http://"+address+"/hostname")
	start := time.Now()
	_, err = s.in.Kubectl(ctx, "set", "env", "deployment/ten", "ROUND="+strconv.FormatInt(start.UnixNano(), 36))
	if err == nil {
		_, err = s.in.Kubectl(ctx, "rollout", "status", "deployment/ten", "--timeout", "120s")
	}
	took := time.Since(start).Seconds()
	return []float64{took}, errors.Join(err, stop())
}

// tenAlone says when there are other pods of the Deployment than its ten.
func tenAlone(ctx context.Context, s *subject) error {
	names, err := s.in.Kubectl(ctx, "get", "pods", "--selector", "app=ten", "--output", "name")
	if count := len(strings.Fields(names)); err == nil && count != 10 {
		return fmt.Errorf("there are %d pods", count)
	}
	return err
}

// ten is a Deployment as its users write it: a readiness probe, and a moment between the end of its endpoints and
// that of the process.
const ten = `apiVersion: apps/v1
kind: Deployment
metadata: {name: ten}
spec:
  replicas: 10
  selector: {matchLabels: {app: ten}}
  template:
    metadata: {labels: {app: ten}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: boxyard/base
          command: [httpd, -f, -p, "8080", -h, /etc]
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
          lifecycle: {preStop: {sleep: {seconds: 3}}}
---
apiVersion: v1
kind: Service
metadata: {name: ten}
spec:
  selector: {app: ten}
  ports: [{port: 80, targetPort: 8080}]
`
