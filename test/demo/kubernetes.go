package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const namespace = "hello"

// service is where the web Service is reached from the host.
type service struct{ clusterIP, nodePort string }

// kubernetes is the second half: the images that Docker built, in pods.
func (d *demo) kubernetes() {
	d.deploy()
	web := d.reach()
	d.lookAtPods()
	d.scale()
	d.update(web)
	d.undo(web)
	d.killPod()
	d.failReadiness()
	d.failLiveness()
	d.breakImage()
}

func (d *demo) kubectl(args ...string) string {
	return d.run(append([]string{"kubectl", "--namespace", namespace}, args...)...)
}

func (d *demo) rollout() {
	d.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
}

func (d *demo) deploy() {
	d.title("Kubernetes: deploy the images that were just built; no push, no load")
	// With --only kubernetes nothing has built them yet; else this takes a moment from the cache.
	d.quiet("docker", "build", "--quiet", "--tag", "hello:v1", "examples/hello")
	d.quiet("docker", "build", "--quiet", "--tag", "hello-store:v1", "--file", "examples/hello/Dockerfile.store", "examples/hello")
	start := time.Now()
	d.run("kubectl", "apply", "--filename", "examples/hello/k8s")
	d.eventually(60*time.Second, "the first pod is ready", func() error {
		return d.readyPods(1)
	})
	d.timing("kubectl apply to the first pod ready", time.Since(start), 0)
	d.rollout()
	d.timing("kubectl apply to the whole rollout", time.Since(start), 0)
}

func (d *demo) reach() service {
	d.title("Kubernetes: reach it by name from a pod, and from this host")
	d.kubectl("run", "client", "--image=boxyard/base", "--restart=Never", "--command", "--", "sleep", "86400")
	d.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
	d.expect("nslookup", d.kubectl("exec", "client", "--", "nslookup", "web.hello.svc.cluster.local"), "Address")
	d.expect("wget", d.kubectl("exec", "client", "--", "wget", "-qO-", "http://web/api/hello"), "Hello from Kubernetes")
	d.expect("wget", d.kubectl("exec", "client", "--", "wget", "-qO-", "http://web.hello.svc.cluster.local/api/hello"), "Hello from Kubernetes")
	d.run("boxyard", "url", "svc/web", "--namespace", namespace)
	address := func(path string) string {
		return d.quiet("kubectl", "--namespace", namespace, "get", "service", "web", "--output", "jsonpath={"+path+"}")
	}
	node := d.quiet("kubectl", "get", "nodes", "--output", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	node, _, _ = strings.Cut(node, " ") // the first one of a dual stack
	web := service{
		clusterIP: "http://" + address(".spec.clusterIP") + "/",
		nodePort:  "http://" + node + ":" + address(".spec.ports[0].nodePort") + "/",
	}
	d.fetch(web.clusterIP, "Hello from Kubernetes", `id="count"`)
	d.fetch(web.nodePort+"api/hello", "Hello from Kubernetes", `"version":"v1"`)
	return web
}

func (d *demo) lookAtPods() {
	d.title("Kubernetes: get, describe, logs, exec")
	d.expect("get", d.kubectl("get", "all"), "deployment.apps/web", "service/web", "pod/store")
	d.expect("describe", d.kubectl("describe", "deployment", "web"), "RollingUpdate", "hello:v1")
	d.eventually(10*time.Second, "the log shows requests", func() error {
		out, err := d.try("kubectl", "--namespace", namespace, "logs", "--selector", "app=web", "--tail", "20")
		if err == nil && !strings.Contains(out, "GET / 200") {
			err = fmt.Errorf("no request in the log:\n%s", out)
		}
		return err
	})
	d.kubectl("logs", "deployment/web", "--tail", "3")
	d.expect("exec", d.kubectl("exec", "deployment/web", "--", "web", "self-test"), "self-test ok: version v1")
}

func (d *demo) scale() {
	d.title("Kubernetes: scale to 5")
	d.kubectl("scale", "deployment/web", "--replicas=5")
	d.rollout()
	d.timing("scale from 3 to 5", d.took, 0)
	d.kubectl("get", "pods", "--selector", "app=web", "--output", "wide")
}

func (d *demo) update(web service) {
	d.title("Kubernetes: update to v2 while %d requests/s come in at each of two addresses", d.rate)
	d.run("docker", "build", "--quiet", "--build-arg", "VERSION=v2", "--tag", "hello:v2", "examples/hello")
	d.timing("docker build after a change", d.took, 0)
	stop := d.startLoad(web)
	start := time.Now()
	d.kubectl("set", "image", "deployment/web", "web=hello:v2")
	d.rollout()
	d.timing("update of 5 pods under load", time.Since(start), 0)
	d.eventually(60*time.Second, "the old pods are gone", func() error { return d.podCount(5) })
	stop("update.csv")
	d.fetch(web.clusterIP+"api/hello", `"version":"v2"`)
}

func (d *demo) undo(web service) {
	d.title("Kubernetes: roll back")
	d.kubectl("rollout", "history", "deployment/web")
	d.kubectl("rollout", "undo", "deployment/web")
	d.rollout()
	d.eventually(60*time.Second, "only v1 answers", func() error {
		for range 10 {
			body, err := d.get(web.clusterIP + "api/hello")
			if err != nil {
				return err
			}
			if !strings.Contains(body, `"version":"v1"`) {
				return fmt.Errorf("got %s", body)
			}
		}
		return nil
	})
	d.kubectl("scale", "deployment/web", "--replicas=3")
	d.eventually(60*time.Second, "3 pods are left", func() error { return d.podCount(3) })
}

func (d *demo) killPod() {
	d.title("Kubernetes: kill a pod and see it replaced")
	victim := d.onePod()
	d.kubectl("delete", "pod", victim, "--now", "--wait=false")
	d.eventually(60*time.Second, "another pod has taken its place", func() error {
		if err := d.podCount(3); err != nil {
			return err
		}
		if slices.ContainsFunc(d.pods(), func(p pod) bool { return p.Metadata.Name == victim }) {
			return errors.New(victim + " is still there")
		}
		return d.readyPods(3)
	})
	d.kubectl("get", "pods", "--selector", "app=web")
}

func (d *demo) failReadiness() {
	d.title("Kubernetes: a pod whose readiness probe fails gets no requests")
	victim := d.onePod()
	d.kubectl("exec", victim, "--", "web", "ctl", "unready")
	d.eventually(30*time.Second, "its endpoint is not ready", func() error { return d.endpoint(victim, false) })
	d.kubectl("get", "endpointslices", "--selector", "kubernetes.io/service-name=web",
		"--output", `custom-columns=SLICE:.metadata.name,ADDRESSES:.endpoints[*].addresses[0],READY:.endpoints[*].conditions.ready`)
	d.kubectl("exec", victim, "--", "web", "ctl", "ready")
	d.eventually(30*time.Second, "its endpoint is ready again", func() error { return d.endpoint(victim, true) })
}

func (d *demo) failLiveness() {
	d.title("Kubernetes: a pod whose liveness probe fails is restarted")
	victim := d.onePod()
	d.kubectl("exec", victim, "--", "web", "ctl", "hang")
	d.eventually(60*time.Second, "it was restarted and is ready", func() error {
		for _, p := range d.pods() {
			if p.Metadata.Name == victim && p.restarts() > 0 && p.ready() {
				return nil
			}
		}
		return errors.New(victim + " has not been restarted")
	})
	d.expect("events", d.kubectl("events", "--for", "pod/"+victim), "Liveness probe failed")
	d.kubectl("get", "pods", "--selector", "app=web")
}

func (d *demo) breakImage() {
	d.title("Kubernetes: an image that does not exist, and how to find out")
	d.kubectl("set", "image", "deployment/web", "web=hello:no-such-version")
	broken := ""
	d.eventually(90*time.Second, "a pod cannot get its image", func() error {
		for _, p := range d.pods() {
			if reason := p.waiting(); reason == "ErrImagePull" || reason == "ImagePullBackOff" {
				broken = p.Metadata.Name
				return nil
			}
		}
		return errors.New("no pod complains")
	})
	d.expect("get pods", d.kubectl("get", "pods", "--selector", "app=web"), "ImagePull")
	d.expect("describe", d.kubectl("describe", "pod", broken), "hello:no-such-version", "Failed")
	d.expect("events", d.kubectl("events", "--for", "pod/"+broken, "--types", "Warning"), "Failed to pull image")
	d.note("the old pods go on serving: maxUnavailable is 0")
	if d.err == nil {
		if err := d.readyPods(3); err != nil {
			d.fail("%w", err)
		}
	}
	d.kubectl("rollout", "undo", "deployment/web")
	d.rollout()
	d.eventually(60*time.Second, "the broken pod is gone", func() error { return d.podCount(3) })
}
