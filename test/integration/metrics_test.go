//go:build integration

package integration

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// fields is the row of a table of kubectl that begins with name.
func fields(table, name string) []string {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == name {
			return f
		}
	}
	return nil
}

func (b box) node() string {
	b.t.Helper()
	return b.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
}

// topNode waits for the usage of the node.
func (b box) topNode(limit time.Duration, when string) {
	b.t.Helper()
	name, start := b.node(), time.Now()
	b.eventually(limit, "kubectl top nodes "+when, func() error {
		out, err := b.Kubectl(b.t.Context(), "top", "nodes", "--no-headers")
		if err != nil {
			return err
		}
		// NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)
		row := fields(out, name)
		if len(row) < 5 || !strings.HasSuffix(row[1], "m") || !strings.HasSuffix(row[3], "Mi") {
			return fmt.Errorf("it says: %s", out)
		}
		return nil
	})
	b.t.Logf("%s: after %v", when, time.Since(start).Round(100*time.Millisecond))
}

func topNodesAtFirst(b box) {
	// It is there from the first moment on, and no discovery fails.
	if out := b.kubectl("api-resources", "--api-group=metrics.k8s.io"); !strings.Contains(out, "PodMetrics") || !strings.Contains(out, "NodeMetrics") {
		b.t.Errorf("discovery:\n%s", out)
	}
	if out := b.kubectl("get", "apiservice", "v1beta1.metrics.k8s.io", "--no-headers"); !strings.Contains(out, "Local") || !strings.Contains(out, "True") {
		b.t.Errorf("API service: %s", out)
	}
	b.topNode(30*time.Second, "soon after the start")
}

// startLoads makes two Deployments that use more than they ask for, for a bounded time, and their autoscalers.
func startLoads(b box) {
	load := func(name, command, resources, metric string) {
		b.apply(`apiVersion: apps/v1
kind: Deployment
metadata: {name: ` + name + `}
spec:
  selector: {matchLabels: {app: ` + name + `}}
  template:
    metadata: {labels: {app: ` + name + `}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: boxyard/base, command: [sh, -c, '` + command + `'], volumeMounts: [{name: mem, mountPath: /mem}], resources: ` + resources + `}
      volumes: [{name: mem, emptyDir: {medium: Memory}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: ` + name + `}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: ` + name + `}
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: ` + metric + `, target: {type: Utilization, averageUtilization: 50}}}]
`)
	}
	load("busy", "timeout 120 sh -c \"while :; do :; done\"; "+rest, "{requests: {cpu: 50m}, limits: {cpu: 150m}}", "cpu")
	load("large", "dd if=/dev/zero of=/mem/x bs=1M count=24; "+rest, "{requests: {memory: 16Mi}, limits: {memory: 64Mi}}", "memory")
}

func top(b box) {
	b.eventually(60*time.Second, "kubectl top pods", func() error {
		out, err := b.Kubectl(b.t.Context(), "top", "pods", "--no-headers", "--selector=app in (busy,large)")
		if err != nil {
			return err
		}
		found := map[string][]string{}
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			name, _, _ := strings.Cut(f[0], "-")
			found[name] = f
		}
		if len(found) < 2 {
			return fmt.Errorf("it says:\n%s", out)
		}
		if milli := number(found["busy"][1], "m"); milli < 50 || milli > 300 {
			return fmt.Errorf("a busy loop limited to 150m uses %s", found["busy"][1])
		}
		if mega := number(found["large"][2], "Mi"); mega < 20 || mega > 64 {
			return fmt.Errorf("24 MiB of memory are %s", found["large"][2])
		}
		return nil
	})
	if out := b.kubectl("top", "pods", "--containers", "--no-headers", "--selector=app=busy"); !strings.Contains(out, " c ") {
		b.t.Errorf("top pods --containers:\n%s", out)
	}
	if out := b.kubectl("explain", "podmetrics.containers"); !strings.Contains(out, "usage") {
		b.t.Errorf("explain:\n%s", out)
	}
	// Who may view a namespace may see what runs in it use, and who may not, may not.
	b.kubectl("create", "serviceaccount", "viewer")
	if out, _ := b.Kubectl(b.t.Context(), "auth", "can-i", "list", "pods.metrics.k8s.io", "--as=system:serviceaccount:default:viewer"); !strings.Contains(out, "no") {
		b.t.Errorf("without a role: %s", out)
	}
	b.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", "--serviceaccount=default:viewer")
	b.kubectl("top", "pods", "--as=system:serviceaccount:default:viewer")
}

func number(text, unit string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(text, unit))
	if err != nil {
		return -1
	}
	return n
}

func autoscalers(b box) {
	for _, name := range []string{"busy", "large"} {
		b.eventually(90*time.Second, "the autoscaler "+name+" scales up", func() error {
			if got := b.kubectl("get", "deployment", name, "-o", "jsonpath={.status.replicas}"); got != "2" {
				return fmt.Errorf("%s replicas\n%s", got, b.kubectl("describe", "hpa", name))
			}
			return nil
		})
		b.t.Logf("%s: made and scaled %s", name, b.kubectl("get", "hpa", name, "-o", "jsonpath={.metadata.creationTimestamp} {.status.lastScaleTime}"))
	}
	b.kubectl("delete", "hpa,deployment", "busy", "large")
}

func topAfterKill(b box) {
	before := b.status().PIDOf("cluster")
	if n, err := b.Kill("cluster"); err != nil || n != 1 {
		b.t.Fatalf("%d processes killed: %v", n, err)
	}
	b.eventually(30*time.Second, "another cluster process runs", func() error {
		if pid := b.status().PIDOf("cluster"); pid == 0 || pid == before {
			return fmt.Errorf("pid %d", pid)
		}
		return nil
	})
	b.ready(30*time.Second, "after kill -9 of the cluster")
	b.kubectl("api-resources") // would fail with a group that is registered and not served
	b.topNode(30*time.Second, "after kill -9 of the cluster")
	b.kubectl("create", "namespace", "short")
	b.kubectl("delete", "namespace", "short", "--timeout=20s")
}
