//go:build integration

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

func statefulSet(w workload) {
	w.apply("statefulset")
	w.k("rollout", "status", "statefulset/set", "--timeout=90s")
	var pods struct {
		Items []struct {
			Metadata struct {
				Name    string    `json:"name"`
				Created time.Time `json:"creationTimestamp"`
			} `json:"metadata"`
			Status struct {
				Conditions []struct {
					Type string    `json:"type"`
					Time time.Time `json:"lastTransitionTime"`
				} `json:"conditions"`
			} `json:"status"`
		} `json:"items"`
	}
	w.object(&pods, "get", "pods", "--selector=app=set", "--sort-by=.metadata.name")
	if len(pods.Items) != 3 {
		w.t.Fatalf("%d pods, want 3", len(pods.Items))
	}
	var before time.Time
	for i, pod := range pods.Items {
		if want := fmt.Sprintf("set-%d", i); pod.Metadata.Name != want {
			w.t.Errorf("pod %s, want %s", pod.Metadata.Name, want)
		}
		if pod.Metadata.Created.Before(before) {
			w.t.Errorf("%s was made before the one before it was ready", pod.Metadata.Name)
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == "Ready" {
				before = c.Time
			}
		}
	}
	w.k("delete", "pod", "set-1")
	w.becomes(30*time.Second, "True", "get", "pod", "set-1", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	// The name is stable, the address is the new pod's.
	ip := w.k("get", "pod", "set-1", "-o", "jsonpath={.status.podIP}")
	w.eventually(20*time.Second, "the name follows the pod", func() error {
		out, err := w.try("exec", "set-0", "--", "nslookup", "set-1.set."+w.Namespace+".svc.cluster.local")
		if err == nil && !strings.Contains(out, ip) {
			err = fmt.Errorf("%s is not in %s", ip, out)
		}
		return err
	})
}

func daemonSet(w workload) {
	w.apply("daemonset")
	w.k("rollout", "status", "daemonset/everywhere", "--timeout=60s")
	nodes := strings.Count(w.k("get", "nodes", "-o", "name"), "node/")
	w.is(fmt.Sprint(nodes), "get", "daemonset", "everywhere", "-o", "jsonpath={.status.numberReady}")
}

func jobs(w workload) {
	w.apply("jobs")
	w.k("create", "job", "now", "--from=cronjob/minutely")
	w.k("wait", "job/three", "job/now", "--for=condition=Complete", "--timeout=60s")
	w.is("3", "get", "job", "three", "-o", "jsonpath={.status.succeeded}")
	w.is("done", "logs", "job/now")
	w.k("wait", "job/hopeless", "--for=condition=Failed", "--timeout=60s")
	w.is("BackoffLimitExceeded 2", "get", "job", "hopeless", "-o", `jsonpath={.status.conditions[?(@.type=="Failed")].reason} {.status.failed}`)
	w.eventually(75*time.Second, "the CronJob makes a Job by itself", func() error {
		names, err := w.try("get", "jobs", "--selector=cron=minutely", "-o", "jsonpath={.items[*].metadata.name}")
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(strings.Fields(names), func(n string) bool { return strings.HasPrefix(n, "minutely-") }) {
			return errors.New("jobs: " + names)
		}
		return nil
	})
	w.k("delete", "cronjob", "minutely")
}

func initAndSidecar(w workload) {
	w.apply("initandsidecar")
	// It ends although the sidecar would go on for ever.
	w.becomes(60*time.Second, "Succeeded", "get", "pod", "together", "-o", "jsonpath={.status.phase}")
	w.is("first", "logs", "together", "--container=main")
	w.is("0", "get", "pod", "together", "-o", `jsonpath={.status.initContainerStatuses[?(@.name=="beside")].state.terminated.exitCode}`)
}

func configuration(w workload) {
	w.apply("configuration")
	w.podReady("reader")
	w.is("blue s3cret "+w.Namespace+"\none\nkey-one\n400", "exec", "reader", "--", "sh", "-c",
		"echo $COLOUR $PASS $WHERE; cat /settings/file.txt /hidden/key.txt; stat -L -c %a /hidden/key.txt")
	w.k("patch", "configmap", "settings", "--patch", `{"data":{"file.txt":"two\n"}}`)
	w.k("patch", "secret", "hidden", "--patch", `{"stringData":{"key.txt":"key-two\n"}}`)
	// The kubelet looks at its pods once a minute.
	w.becomes(100*time.Second, "two\nkey-two", "exec", "reader", "--", "cat", "/settings/file.txt", "/hidden/key.txt")
}

func probes(w workload) {
	w.apply("probes")
	w.podReady("well")
	w.becomes(30*time.Second, "true true true true", "get", "pods", "--selector=app=ill", "-o", "jsonpath={.items[*].status.containerStatuses[*].started}")
	w.eventually(30*time.Second, "each failing probe is told of", func() error {
		events, err := w.try("get", "events", "--field-selector=reason=Unhealthy", "-o", `jsonpath={range .items[*]}{.involvedObject.name} {.involvedObject.fieldPath} {.message}{"\n"}{end}`)
		if err != nil {
			return err
		}
		for _, probe := range []string{"exec", "http", "tcp", "grpc"} {
			if !strings.Contains(events, "ill-"+probe+" spec.containers{app} ") {
				return fmt.Errorf("no event of the probe by %s in:\n%s", probe, events)
			}
		}
		return nil
	})
	w.is("false false false false", "get", "pods", "--selector=app=ill", "-o", "jsonpath={.items[*].status.containerStatuses[*].ready}")
	w.k("exec", "well", "--container=exec", "--", "rm", "/tmp/ok")
	w.becomes(40*time.Second, "1", "get", "pod", "well", "-o", `jsonpath={.status.containerStatuses[?(@.name=="exec")].restartCount}`)
	w.podReady("well")
}

func disruptionBudget(w workload) {
	w.apply("disruption")
	w.k("rollout", "status", "deployment/needed", "--timeout=60s")
	w.becomes(20*time.Second, "1", "get", "pdb", "needed", "-o", "jsonpath={.status.currentHealthy}")
	pod := w.k("get", "pods", "--selector=app=needed", "-o", "jsonpath={.items[0].metadata.name}")
	eviction := fmt.Sprintf(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":%q,"namespace":%q}}`, pod, w.Namespace)
	evict := []string{"create", "--raw", "/api/v1/namespaces/" + w.Namespace + "/pods/" + pod + "/eviction", "--filename", "-"}
	_, err := w.stdin(eviction, evict...)
	w.denied(err, "disruption budget")
	w.k("delete", "pdb", "needed")
	w.must(w.stdin(eviction, evict...))
	w.k("wait", "pod/"+pod, "--for=delete", "--timeout=30s")
}

// preemption fills the node with a resource of our own: the others' pods are not in its way.
func preemption(w workload) {
	node := w.k("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
	w.k("patch", "node", node, "--subresource=status", "--patch", `{"status":{"capacity":{"boxyard.test/berth":"1"}}}`)
	w.apply("priority")
	w.podReady("passenger")
	w.apply("captain")
	w.podReady("captain")
	if out, err := w.try("get", "pod", "passenger", "-o", "jsonpath={.status.phase}"); err == nil && out == "Running" {
		w.t.Error("both have the only berth")
	}
	if events := w.k("get", "events", "--field-selector=reason=Preempted", "-o", "jsonpath={.items[*].involvedObject.name}"); events != "passenger" {
		w.t.Errorf("preempted: %q, want passenger", events)
	}
}

func resize(w workload) {
	w.apply("resize")
	w.podReady("growing")
	w.k("patch", "pod", "growing", "--subresource=resize", "--patch",
		`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"20m"},"limits":{"cpu":"200m","memory":"96Mi"}}}]}}`)
	w.becomes(60*time.Second, "20m 200m 96Mi 0", "get", "pod", "growing", "-o",
		"jsonpath={.status.containerStatuses[0].resources.requests.cpu} {.status.containerStatuses[0].resources.limits.cpu} {.status.containerStatuses[0].resources.limits.memory} {.status.containerStatuses[0].restartCount}")
	// The kernel has it too: cgroup v2 first, then v1.
	w.is("20000 100663296", "exec", "growing", "--", "sh", "-c",
		`if [ -e /sys/fs/cgroup/cpu.max ]; then cpu=$(cut -d' ' -f1 /sys/fs/cgroup/cpu.max) memory=$(cat /sys/fs/cgroup/memory.max)
else cpu=$(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) memory=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes); fi; echo $cpu $memory`)
}

// userNamespace: root in the pod is nobody outside.
func userNamespace(w workload) {
	w.apply("usernamespace")
	w.podReady("mapped")
	fields := strings.Fields(w.k("exec", "mapped", "--", "cat", "/proc/self/uid_map"))
	if len(fields) != 3 || fields[0] != "0" || fields[1] == "0" || fields[2] != "65536" {
		w.t.Errorf("uid_map: %v", fields)
	}
	w.is("0:0 mine", "exec", "mapped", "--", "sh", "-c", "echo $(stat -c %u:%g /work/file) $(cat /work/file)")
}

func seccomp(w workload) {
	w.apply("seccomp")
	w.podReady("filtered")
	const look = "sed -n 's/^Seccomp:[[:space:]]*//p' /proc/1/status"
	w.is("2", "exec", "filtered", "--container=default", "--", "sh", "-c", look)
	w.is("0", "exec", "filtered", "--container=unconfined", "--", "sh", "-c", look)
}

// pidLimit: a pod cannot use up the machine's process numbers.
func pidLimit(w workload) {
	w.apply("seccomp")
	w.podReady("filtered")
	uid := w.k("get", "pod", "filtered", "-o", "jsonpath={.metadata.uid}")
	out := w.sh(`cat $(find /sys/fs/cgroup -path '*` + w.Cgroup + `*' -name pids.max | grep -e ` + uid + ` -e ` + strings.ReplaceAll(uid, "-", "_") + `) | sort -u`)
	if !slices.Contains(strings.Fields(out), "8192") {
		w.t.Errorf("pids.max of the pod's cgroups: %q", out)
	}
}
