//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestOneWorld holds that containers, Services and pods know each other by name and reach each other, as far as
// networks and policies allow.
func TestOneWorld(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	b.build("page:1", server("a page"))
	b.deploy("page", "page:1", 1)
	b.kubectl("run", "caller", "--image=boxyard/base", "--labels=app=caller", "--command", "--", "sleep", "3600")
	b.kubectl("wait", "pod/caller", "--for=condition=Ready", "--timeout=60s")
	b.docker("network", "create", "shop")
	b.docker("network", "create", "--internal", "inside")
	b.docker("network", "create", "--label", "boxyard.pods=closed", "closed")
	b.docker("run", "--detach", "--name", "shop-page", "--network", "shop", "page:1")
	b.docker("run", "--detach", "--name", "plain-page", "--publish", "8081:8080", "page:1")
	b.docker("run", "--detach", "--name", "inside-page", "--network", "inside", "page:1")
	b.docker("run", "--detach", "--name", "closed-page", "--network", "closed", "page:1")
	b.docker("run", "--detach", "--name", "closed-shown", "--network", "closed", "--publish", "8083:8080", "page:1")
	b.docker("run", "--detach", "--name", "host-page", "--network", "host", "page:1", "httpd", "-f", "-p", "8082", "-h", "/www")
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"containers reach Services and pods", containersReachCluster},
		{"pods reach containers", podsReachContainers},
		{"networks isolate", networksIsolate},
		{"policies isolate", policiesIsolate},
		{"Compose", composeNames},
		{"digests", digests},
		{"names follow containers", namesFollow},
		{"parts are killed", namesWithoutParts},
		{"without the cluster", namesWithoutCluster},
		{"switched off", worldsApart},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// fetches expects the page at the URL, asked for from inside something.
func (b box) fetches(from []string, url string) {
	b.t.Helper()
	b.eventually(20*time.Second, fmt.Sprint(from, " gets ", url), func() error {
		out, err := b.tries(from, url)
		if err == nil && !strings.Contains(out, "a page") {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
}

// fails expects that the URL cannot be had.
func (b box) fails(from []string, url string) {
	b.t.Helper()
	if out, err := b.tries(from, url); err == nil {
		b.t.Errorf("%v gets %s: %q", from, url, out)
	}
}

func (b box) tries(from []string, url string) (string, error) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	args := append(from[1:len(from):len(from)], "timeout", "3", "wget", "-qO-", url)
	if from[0] == "kubectl" {
		return b.Kubectl(ctx, args...)
	}
	return b.Docker(ctx, args...)
}

func inPod() []string { return []string{"kubectl", "exec", "caller", "--"} }

func inContainer(name string) []string { return []string{"docker", "exec", name} }

func containersReachCluster(b box) {
	pod := b.kubectl("get", "pods", "--selector=app=page", "--output=jsonpath={.items[0].status.podIP}")
	for _, name := range []string{"shop-page", "plain-page", "closed-page", "host-page"} {
		b.fetches(inContainer(name), "http://page.default.svc.cluster.local/")
		b.fetches(inContainer(name), "http://"+pod+":8080/")
		b.fetches(inContainer(name), "http://host.docker.internal:8081/")
	}
	// Also while an image is built.
	b.build("built", "FROM boxyard/base\nRUN wget -q -O - http://page.default.svc.cluster.local/ | grep 'a page'\n")
}

func podsReachContainers(b box) {
	b.fetches(inPod(), "http://shop-page.docker.internal:8080/") // not published
	b.fetches(inPod(), "http://plain-page.docker.internal:8080/")
	b.fetches(inPod(), "http://closed-shown.docker.internal:8083/") // its port on the host
	b.fetches(inPod(), "http://host.docker.internal:8081/")
	b.fetches(inPod(), "http://host-page.docker.internal:8082/")
	b.fetches(inPod(), "http://gateway.docker.internal:8082/")
}

func (b box) addressOf(name string) string {
	b.t.Helper()
	return b.docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
}

func networksIsolate(b box) {
	for _, name := range []string{"inside-page", "closed-page"} {
		b.fails(inPod(), "http://"+name+".docker.internal:8080/")
		b.fails(inPod(), "http://"+b.addressOf(name)+":8080/")
	}
	b.fails(inPod(), "http://"+b.addressOf("closed-shown")+":8080/")
	b.fails(inContainer("inside-page"), "http://page.default.svc.cluster.local/")
	b.fails(inContainer("inside-page"), "http://host.docker.internal:8081/")
	// From one Docker network to another nothing has changed.
	b.fails(inContainer("closed-page"), "http://"+b.addressOf("shop-page")+":8080/")
}

const worldPolicies = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: page}
spec:
  podSelector: {matchLabels: {app: page}}
  policyTypes: [Ingress]
  ingress: [{from: [{ipBlock: {cidr: 10.44.0.0/16}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: caller}
spec:
  podSelector: {matchLabels: {app: caller}}
  policyTypes: [Egress]
  egress: [{ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}]
`

func policiesIsolate(b box) {
	b.sh(b.Binary + " kubectl apply -f - <<'END'\n" + worldPolicies + "END")
	address := b.addressOf("shop-page")
	b.eventually(20*time.Second, "the policies hold", func() error {
		for _, try := range []struct {
			from []string
			url  string
		}{
			{inContainer("shop-page"), "http://page.default.svc.cluster.local/"},
			{inPod(), "http://" + address + ":8080/"},
			{inPod(), "http://host.docker.internal:8081/"},
		} {
			if _, err := b.tries(try.from, try.url); err == nil {
				return fmt.Errorf("%v gets %s", try.from, try.url)
			}
		}
		return nil
	})
	b.fetches(inContainer("plain-page"), "http://page.default.svc.cluster.local/")
	b.kubectl("delete", "networkpolicy", "page", "caller")
	b.fetches(inPod(), "http://shop-page.docker.internal:8080/")
}

func composeNames(b box) {
	compose := b.Binary + " compose --progress quiet --file /root/world/compose.yaml "
	b.sh("mkdir -p /root/world && cat > /root/world/compose.yaml <<'END'\nservices: {api: {image: 'page:1', scale: 2}}\nEND\n" + compose + "up --detach")
	b.fetches(inPod(), "http://api.world.docker.internal:8080/")
	b.fetches(inPod(), "http://world-api-2.docker.internal:8080/")
	b.eventually(10*time.Second, "both replicas have the service's name", func() error {
		out := b.kubectl("exec", "caller", "--", "nslookup", "-type=a", "api.world.docker.internal.")
		if n := strings.Count(out, "Address: 10.45."); n != 2 {
			return fmt.Errorf("%d addresses: %s", n, out)
		}
		return nil
	})
	b.sh(compose + "down")
}

func namesFollow(b box) {
	gone := func(name string) {
		b.t.Helper()
		b.eventually(10*time.Second, name+" is no name any more", func() error {
			ctx, cancel := b.limited()
			defer cancel()
			out, err := b.Kubectl(ctx, "exec", "caller", "--", "nslookup", "-type=a", name+".docker.internal.")
			if err == nil {
				return fmt.Errorf("it resolves: %s", out)
			}
			return nil
		})
	}
	b.docker("run", "--detach", "--name", "moving", "--network", "shop", "page:1")
	b.fetches(inPod(), "http://moving.docker.internal:8080/")
	b.docker("rename", "moving", "moved")
	b.fetches(inPod(), "http://moved.docker.internal:8080/")
	gone("moving")
	b.docker("network", "disconnect", "shop", "moved")
	gone("moved")
	b.docker("network", "connect", "shop", "moved")
	b.fetches(inPod(), "http://moved.docker.internal:8080/")
	b.docker("rm", "--force", "moved")
	gone("moved")
}

// inNetwork begins a command that is to run where a process has its network.
func inNetwork(pid string) string { return "nsenter --target " + pid + " --net " }

// namesWithoutParts: no lookup of a container fails while the cluster, dns or dockerd is away.
func namesWithoutParts(b box) {
	container, pod := b.containerPID("plain-page"), b.podPID("caller")
	for _, part := range []string{"cluster", "dns", "dockerd"} {
		if n, err := b.Kill(part); err != nil || n != 1 {
			b.t.Fatalf("%d processes of %s killed: %v", n, part, err)
		}
		for range 5 {
			for _, name := range []string{"page.default.svc.cluster.local", "host.docker.internal", "shop-page.docker.internal"} {
				b.sh(inNetwork(container) + "busybox nslookup -type=a " + name + ". 10.42.0.1")
			}
		}
		b.ready(30*time.Second, part+" was killed")
	}
	// The next daemon knows from the start which networks are open.
	if n, err := b.Kill("boxyard"); err != nil || n != 1 {
		b.t.Fatalf("%d daemons killed: %v", n, err)
	}
	b.up()
	for _, name := range []string{"shop-page", "plain-page"} {
		b.sh(inNetwork(pod) + "timeout 3 busybox wget -qO- http://" + b.addressOf(name) + ":8080/")
	}
	b.sh("! " + inNetwork(pod) + "timeout 3 busybox wget -qO- http://" + b.addressOf("closed-page") + ":8080/")
	b.fetches(inPod(), "http://shop-page.docker.internal:8080/")
	b.fetches(inContainer("shop-page"), "http://page.default.svc.cluster.local/")
}

func namesWithoutCluster(b box) {
	b.boxyard("down")
	b.up("--without", "cluster")
	b.docker("start", "shop-page", "plain-page")
	b.fetches(inContainer("shop-page"), "http://host.docker.internal:8081/")
	b.fetches(inContainer("plain-page"), "http://host.docker.internal:8081/")
}

func worldsApart(b box) {
	b.boxyard("down")
	if err := b.SetConfig("docker: {names: false, openToPods: false}\n"); err != nil {
		b.t.Fatal(err)
	}
	b.up()
	b.docker("network", "create", "apart")
	b.docker("run", "--detach", "--name", "apart-page", "--network", "apart", "page:1")
	b.docker("start", "plain-page")
	b.kubectl("wait", "pod/caller", "--for=condition=Ready", "--timeout=60s")
	b.fails(inPod(), "http://"+b.addressOf("apart-page")+":8080/")
	b.fails(inPod(), "http://apart-page.docker.internal:8080/")
	b.fails(inContainer("plain-page"), "http://page.default.svc.cluster.local/")
	b.fetches(inPod(), "http://host.docker.internal:8081/")
}
