//go:build integration

package integration

import (
	"errors"
	"strings"
	"time"
)

func quotaAndLimits(w workload) {
	w.apply("quota")
	// Both are enforced from what admission has seen; a pod before that would have no limits.
	w.becomes(30*time.Second, "1", "get", "resourcequota", "one", "-o", "jsonpath={.status.hard.pods}")
	w.eventually(20*time.Second, "the LimitRange is enforced", func() error {
		_, err := w.try("run", "large", "--image=boxyard/base", "--overrides",
			`{"spec":{"containers":[{"name":"large","image":"boxyard/base","resources":{"limits":{"memory":"1Gi"}}}]}}`, "--dry-run=server")
		if err == nil {
			return errors.New("a container of 1 GiB is allowed")
		}
		w.denied(err, "maximum memory usage per Container is 128Mi")
		return nil
	})
	w.k("run", "first", "--image=boxyard/base", "--command", "--", "sleep", "3600")
	w.is("10m 64Mi", "get", "pod", "first", "-o", "jsonpath={.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.limits.memory}")
	_, err := w.try("run", "second", "--image=boxyard/base")
	w.denied(err, "exceeded quota: one", "pods=1")
}

func podSecurity(w workload) {
	w.k("label", "namespace", w.Namespace, "pod-security.kubernetes.io/enforce=restricted")
	_, err := w.try("run", "bold", "--image=boxyard/base", "--privileged")
	w.denied(err, "violates PodSecurity", "restricted", "privileged")
	w.apply("restricted")
	w.podReady("modest")
}

func admissionPolicy(w workload) {
	w.apply("admissionpolicy")
	create := func(replicas string) error {
		_, err := w.try("create", "deployment", "many", "--image=boxyard/base", "--replicas="+replicas, "--dry-run=server")
		return err
	}
	w.eventually(30*time.Second, "the policy is enforced", func() error {
		if err := create("5"); err == nil || !strings.Contains(err.Error(), "three replicas at most, not 5") {
			return errors.Join(errors.New("not refused as expected"), err)
		}
		return nil
	})
	if err := create("3"); err != nil {
		w.t.Error(err)
	}
}

func (w workload) serve() {
	w.t.Helper()
	w.apply("server")
	w.k("rollout", "status", "deployment/server", "--timeout=60s")
}

func webhook(w workload) {
	w.serve()
	w.apply("webhook")
	label := func(value string) error {
		_, err := w.stdin(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"asked","labels":{"refuse":"`+value+`"}}}`, "create", "--dry-run=server", "-f", "-")
		return err
	}
	w.eventually(30*time.Second, "the webhook is asked", func() error {
		if err := label("yes"); err == nil || !strings.Contains(err.Error(), "the label refuse says yes") {
			return errors.Join(errors.New("not refused as expected"), err)
		}
		return nil
	})
	w.denied(label("yes"), `admission webhook "up.boxyard.test" denied the request`)
	if err := label("no"); err != nil {
		w.t.Error(err)
	}
}

// webhookDown: nobody is behind the Service. What fails says so, and Ignore lets it pass.
func webhookDown(w workload) {
	w.Policy = "Fail"
	w.apply("webhookdown")
	create := func() error {
		_, err := w.try("create", "configmap", "asked", "--dry-run=server")
		return err
	}
	w.eventually(30*time.Second, "the webhook is missed", func() error {
		if create() == nil {
			return errors.New("it is not asked yet")
		}
		return nil
	})
	w.denied(create(), `failed calling webhook "down.boxyard.test"`, "nobody."+w.Namespace+".svc")
	w.Policy = "Ignore"
	w.apply("webhookdown")
	w.eventually(30*time.Second, "failurePolicy Ignore lets it pass", create)
}

func conversion(w workload) {
	w.serve()
	w.apply("crates")
	w.becomes(30*time.Second, "True", "get", "crd", "crates.boxyard.test", "-o", // `kubectl wait` gives up on conditions that are still null
		`jsonpath={.status.conditions[?(@.type=="Established")].status}`)
	w.eventually(30*time.Second, "a crate is made", func() error {
		_, err := w.stdin(w.manifest("crate"), "apply", "-f", "-")
		return err
	})
	w.becomes(30*time.Second, "7", "get", "crates.v2.boxyard.test", "large", "-o", "jsonpath={.spec.dimensions.size}")
	w.k("patch", "crates.v2.boxyard.test", "large", "--type=merge", "--patch", `{"spec":{"dimensions":{"size":8}}}`)
	w.is("8", "get", "crates.v1.boxyard.test", "large", "-o", "jsonpath={.spec.size}")
	w.k("delete", "crd", "crates.boxyard.test", "--timeout=60s")
}

func aggregatedAPI(w workload) {
	w.serve()
	w.apply("tides")
	w.k("wait", "apiservice/v1.tide.boxyard.test", "--for=condition=Available", "--timeout=60s")
	w.becomes(30*time.Second, "4", "get", "tides.tide.boxyard.test", "high", "-o", "jsonpath={.spec.metres}")
	w.k("scale", "deployment/server", "--replicas=0")
	w.becomes(60*time.Second, "False MissingEndpoints", "get", "apiservice", "v1.tide.boxyard.test", "-o",
		`jsonpath={.status.conditions[?(@.type=="Available")].status} {.status.conditions[?(@.type=="Available")].reason}`)
	// While it is away nothing else suffers: a namespace could not be deleted with it there.
	w.k("delete", "apiservice", "v1.tide.boxyard.test")
}

func serverSideApply(w workload) {
	manifest := func(value string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned"},"data":{"key":"` + value + `"}}`
	}
	apply := func(manager, value string, more ...string) error {
		_, err := w.stdin(manifest(value), append([]string{"apply", "--server-side", "--field-manager=" + manager, "-f", "-"}, more...)...)
		return err
	}
	if err := apply("first", "one"); err != nil {
		w.t.Fatal(err)
	}
	w.denied(apply("second", "two"), "conflict", `"first"`, ".data.key")
	w.is("one", "get", "configmap", "owned", "-o", "jsonpath={.data.key}")
	if err := apply("second", "two", "--force-conflicts"); err != nil {
		w.t.Error(err)
	}
	w.is("two", "get", "configmap", "owned", "-o", "jsonpath={.data.key}")
}
