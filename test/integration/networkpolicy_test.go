//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// policyWorld is two namespaces with pods that connect to each other as the test says.
type policyWorld struct {
	box
	addresses map[string]string // of pods, by namespace/name
}

// TestNetworkPolicy: what connections pods can make, while policies and what they select come, change and go.
func TestNetworkPolicy(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	w := newPolicyWorld(b)
	for _, part := range []struct {
		name string
		run  func(policyWorld)
	}{
		{"nothing without policies", nothingWithoutPolicies},
		{"deny ingress, allow by labels", ingressByLabels},
		{"ports", policyPorts},
		{"blocks", policyBlocks},
		{"egress and names", egressAndNames},
		{"the cluster process killed", policiesWhileAway},
		{"a pod that starts", policyFromTheFirstPacket},
		{"a table that was flushed", policyTableFlushed},
		{"document", policiesDocument},
		{"nothing without policies", nothingWithoutPolicies},
	} {
		t.Run(part.name, func(t *testing.T) {
			w := policyWorld{box: box{Instance: b.Instance, t: t}, addresses: w.addresses}
			part.run(w)
			w.kubectl("delete", "networkpolicy", "--all", "--all-namespaces")
		})
	}
	t.Run("down takes the rules away", func(t *testing.T) {
		w := policyWorld{box: box{Instance: b.Instance, t: t}, addresses: w.addresses}
		w.policy("red", "deny", "podSelector: {}")
		w.eventually(10*time.Second, "the rules are there", func() error { return w.hasTable(true) })
		w.boxyard("down")
		if err := w.hasTable(false); err != nil {
			t.Error(err)
		}
	})
}

const probeControl = "9999"

func newPolicyWorld(b box) policyWorld {
	b.t.Helper()
	b.buildProbe()
	manifest := ""
	for _, namespace := range []string{"red", "blue"} {
		manifest += "---\n{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + ", labels: {team: " + namespace + "}}}\n"
	}
	for _, pod := range []string{"red/web", "red/client", "blue/client", "blue/other"} {
		namespace, name, _ := strings.Cut(pod, "/")
		manifest += probePod(namespace, name)
	}
	manifest += `---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: red}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
`
	b.apply(manifest)
	for _, namespace := range []string{"red", "blue"} {
		b.kubectl("wait", "pods", "--all", "--namespace", namespace, "--for=condition=Ready", "--timeout=60s")
	}
	w := policyWorld{box: b, addresses: map[string]string{}}
	for _, pod := range []string{"red/web", "red/client", "blue/client", "blue/other"} {
		w.find(pod)
	}
	return w
}

// buildProbe makes the image that all pods of this test run.
func (b box) buildProbe() {
	b.t.Helper()
	dir := b.t.TempDir()
	b.compile(filepath.Join(dir, "probe"), "./testdata/probe")
	dockerfile := "FROM boxyard/base\nCOPY probe /probe\n" +
		`ENTRYPOINT ["/probe", "` + probeControl + `", "tcp:8080", "tcp:8081", "udp:8082"]` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.docker("build", "--tag", "probe:1", dir)
}

func probePod(namespace, name string) string {
	return `---
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, namespace: ` + namespace + `, labels: {app: ` + name + `}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: probe
    image: probe:1
    ports: [{name: http, containerPort: 8080}, {name: query, containerPort: 8082, protocol: UDP}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 1}
`
}

func (b box) apply(manifest string) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{Name: b.Binary, Args: []string{"kubectl", "apply", "-f", "-"}, Stdin: strings.NewReader(manifest)})
	if err != nil || result.Code != 0 {
		b.t.Fatalf("kubectl apply: %v\n%s\n%s", err, result.Output(), manifest)
	}
}

// policy writes a policy with this specification.
func (w policyWorld) policy(namespace, name, spec string) {
	w.t.Helper()
	w.apply("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n  " +
		strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n")
}

func (w policyWorld) find(pod string) {
	w.t.Helper()
	namespace, name, _ := strings.Cut(pod, "/")
	w.addresses[pod] = w.kubectl("get", "pod", name, "--namespace", namespace, "-o", "jsonpath={.status.podIP}")
}

// ask has a pod do something.
func (w policyWorld) ask(pod, path string, query neturl.Values) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 40*time.Second)
	defer cancel()
	code, body, err := w.Get(ctx, "http://"+net.JoinHostPort(w.addresses[pod], probeControl)+path+"?"+query.Encode())
	if err != nil {
		return "", err
	}
	if code != 200 {
		return body, errors.New(strings.TrimSpace(body))
	}
	return body, nil
}

// resolve puts the address of a pod in the place of its name.
func (w policyWorld) resolve(target string) (network, address string) {
	network, address, _ = strings.Cut(target, " ")
	host, port, _ := strings.Cut(address, ":")
	if a, ok := w.addresses[host]; ok {
		host = a
	}
	return network, net.JoinHostPort(host, port)
}

// connects expects connections "from > network to:port", and that others are not possible, within a few seconds.
func (w policyWorld) connects(possible bool, connections ...string) {
	w.t.Helper()
	for _, connection := range connections {
		from, target, _ := strings.Cut(connection, " > ")
		network, address := w.resolve(target)
		start := time.Now()
		w.eventually(10*time.Second, fmt.Sprintf("%s is possible: %v", connection, possible), func() error {
			out, err := w.ask(from, "/dial", neturl.Values{"network": {network}, "address": {address}})
			if possible != (err == nil) {
				return fmt.Errorf("%s: %w", out, errors.Join(err, errors.New("it is the other way")))
			}
			return nil
		})
		if took := time.Since(start); took > 2*time.Second {
			w.t.Logf("%s: after %v", connection, took.Round(10*time.Millisecond))
		}
	}
}

func (w policyWorld) allowed(connections ...string) {
	w.t.Helper()
	w.connects(true, connections...)
}

func (w policyWorld) denied(connections ...string) {
	w.t.Helper()
	w.connects(false, connections...)
}

func (w policyWorld) hasTable(want bool) error {
	tables := w.sh("nft list tables")
	if strings.Contains(tables, "boxyard-policy") != want {
		return fmt.Errorf("the table is there: %v\n%s", !want, tables)
	}
	return nil
}

func nothingWithoutPolicies(w policyWorld) {
	w.eventually(10*time.Second, "no table", func() error { return w.hasTable(false) })
	w.allowed("red/client > tcp red/web:8080", "blue/client > udp red/web:8082", "red/web > tcp blue/other:8081")
}

// service is the address of red/web's Service.
func (w policyWorld) service() string {
	return w.kubectl("get", "service", "web", "--namespace", "red", "-o", "jsonpath={.spec.clusterIP}")
}

func ingressByLabels(w policyWorld) {
	service := "tcp " + w.service() + ":80"
	w.policy("red", "deny", "podSelector: {}\npolicyTypes: [Ingress]")
	w.denied("red/client > tcp red/web:8080", "blue/client > tcp red/web:8080", "red/client > udp red/web:8082", "blue/client > "+service)
	w.allowed("red/web > tcp red/web:8080", "red/web > "+service, "red/web > tcp blue/other:8080")
	w.kubectl("wait", "pods", "--all", "--namespace", "red", "--for=condition=Ready", "--timeout=5s") // probes pass

	w.policy("red", "allow", "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]")
	w.allowed("red/client > tcp red/web:8080", "red/client > udp red/web:8082", "red/client > "+service)
	w.denied("blue/client > tcp red/web:8080", "blue/other > "+service, "red/web > tcp red/client:8080")

	w.kubectl("label", "pod", "client", "--namespace", "red", "app=other", "--overwrite")
	w.denied("red/client > tcp red/web:8080")
	w.kubectl("label", "pod", "client", "--namespace", "red", "app=client", "--overwrite")
	w.allowed("red/client > tcp red/web:8080")

	w.policy("red", "allow", "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{namespaceSelector: {matchLabels: {friend: 'yes'}}, podSelector: {matchLabels: {app: client}}}]}]")
	w.denied("red/client > tcp red/web:8080", "blue/client > tcp red/web:8080")
	w.kubectl("label", "namespace", "blue", "friend=yes")
	w.allowed("blue/client > tcp red/web:8080", "blue/client > "+service)
	w.denied("blue/other > tcp red/web:8080")
	w.kubectl("label", "namespace", "blue", "friend-")
	w.denied("blue/client > tcp red/web:8080")

	w.kubectl("delete", "networkpolicy", "--all", "--namespace", "red")
	w.allowed("blue/client > tcp red/web:8080", "blue/other > "+service)
}

func policyPorts(w policyWorld) {
	w.policy("red", "ports", "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: http}]}]")
	w.denied("red/client > tcp red/web:8081", "red/client > udp red/web:8082")
	w.allowed("red/client > tcp red/web:8080", "blue/client > tcp "+w.service()+":80")
	w.policy("red", "ports", "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 8081, endPort: 8090}]}]")
	w.denied("red/client > tcp red/web:8080", "red/client > udp red/web:8082")
	w.allowed("red/client > tcp red/web:8081")
	w.policy("red", "ports", "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 8000, endPort: 9000, protocol: UDP}]}]")
	w.denied("red/client > tcp red/web:8080", "red/client > tcp red/web:8081")
	w.allowed("red/client > udp red/web:8082")
	w.policy("blue", "named", "podSelector: {matchLabels: {app: client}}\npolicyTypes: [Egress]\negress: [{to: [{namespaceSelector: {}}], ports: [{port: query, protocol: UDP}]}]")
	w.allowed("blue/client > udp red/web:8082", "blue/client > udp blue/other:8082")
	w.denied("blue/client > tcp blue/other:8080")
}

func policyBlocks(w policyWorld) {
	web := w.addresses["red/web"]
	w.policy("red", "blocks", "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{ipBlock: {cidr: 10.42.0.0/16, except: ["+w.addresses["blue/client"]+"/32]}}]}]")
	w.denied("blue/client > tcp red/web:8080")
	w.allowed("red/client > tcp red/web:8080", "blue/other > tcp red/web:8081")
	w.policy("red", "again", "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{ipBlock: {cidr: "+w.addresses["blue/client"]+"/32}}], ports: [{port: 8081}]}]")
	w.allowed("blue/client > tcp red/web:8081")
	w.denied("blue/client > tcp red/web:8080")
	w.policy("blue", "out", "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: ["+web+"/32]}}]}]")
	w.denied("blue/other > tcp red/web:8080", "blue/other > tcp "+w.service()+":80")
	w.allowed("blue/other > tcp red/client:8080")
}

// egressAndNames: a pod that may only ask for names, as policies say it everywhere.
func egressAndNames(w policyWorld) {
	api := "tcp 10.42.0.1:6443"
	looksUp := func(possible bool) {
		w.t.Helper()
		w.eventually(15*time.Second, fmt.Sprintf("names are found: %v", possible), func() error {
			_, err := w.ask("red/client", "/lookup", neturl.Values{"name": {"web.red.svc.cluster.local"}})
			if possible != (err == nil) {
				return errors.Join(err, errors.New("it is the other way"))
			}
			return nil
		})
	}
	w.policy("red", "deny", "podSelector: {}\npolicyTypes: [Egress]")
	w.denied("red/client > tcp red/web:8080", "red/client > udp red/web:8082", "red/client > tcp blue/other:8080")
	w.allowed("blue/client > tcp red/web:8080", "red/client > tcp red/client:8080")
	looksUp(false)
	w.policy("red", "names", `podSelector: {}
policyTypes: [Egress]
egress:
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]`)
	looksUp(true)
	w.denied("red/client > tcp red/web:8080")
	w.reaches("red/client", api, false)
	w.policy("red", "api", "podSelector: {matchLabels: {app: client}}\npolicyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 10.42.0.1/32}}], ports: [{port: 6443}]}]")
	w.reaches("red/client", api, true)
	w.reaches("red/web", api, false)
}

// reaches is for servers that do not speak first: what counts is that the connection comes about.
func (w policyWorld) reaches(pod, target string, possible bool) {
	w.t.Helper()
	network, address := w.resolve(target)
	w.eventually(10*time.Second, fmt.Sprintf("%s reaches %s: %v", pod, target, possible), func() error {
		_, err := w.ask(pod, "/dial", neturl.Values{"network": {network}, "address": {address}})
		if err == nil {
			return errors.New("the server spoke first")
		}
		// After the connection, nothing comes until the client speaks.
		if connected := strings.HasPrefix(err.Error(), "read "); connected != possible {
			return err
		}
		return nil
	})
}

// policiesWhileAway: no connection that is denied comes about, and none that is allowed fails, while the process that wrote
// the rules is killed, away and back.
func policiesWhileAway(w policyWorld) {
	w.policy("red", "deny", "podSelector: {}")
	w.policy("red", "allow", "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{podSelector: {}}]}]")
	w.denied("blue/client > tcp red/web:8080")
	w.allowed("red/client > tcp red/web:8080")
	network, address := w.resolve("tcp red/web:8080")
	for _, from := range []string{"red/client", "blue/client"} {
		if _, err := w.ask(from, "/series/start", neturl.Values{"network": {network}, "address": {address}}); err != nil {
			w.t.Fatal(err)
		}
	}
	old := w.status().PIDOf("cluster")
	if n, err := w.Kill("cluster"); err != nil || n != 1 {
		w.t.Fatalf("%d processes killed: %v", n, err)
	}
	w.eventually(15*time.Second, "another cluster process runs", func() error {
		if pid := w.status().PIDOf("cluster"); pid == 0 || pid == old {
			return fmt.Errorf("pid %d", pid)
		}
		return nil
	})
	w.ready(20*time.Second, "after kill -9 of cluster")
	w.kubectl("label", "pod", "client", "--namespace", "blue", "touched=yes")
	denied, err := w.ask("blue/client", "/series/end", nil)
	if err != nil {
		w.t.Error(err)
	}
	allowed, err := w.ask("red/client", "/series/end", nil)
	if err != nil {
		w.t.Error(err)
	}
	w.t.Logf("denied: %s, allowed: %s", denied, allowed)
	if !strings.HasPrefix(denied, "0 of ") || denied == "0 of 0" {
		w.t.Errorf("denied connections: %s", denied)
	}
	var succeeded, tried int
	if n, _ := fmt.Sscanf(allowed, "%d of %d", &succeeded, &tried); n != 2 || succeeded != tried || tried < 100 {
		w.t.Errorf("allowed connections: %s", allowed)
	}
	w.kubectl("delete", "networkpolicy", "deny", "allow", "--namespace", "red")
	w.allowed("blue/client > tcp red/web:8080") // who came back goes on
}

// policyFromTheFirstPacket: a pod's rules are there when its first container starts.
func policyFromTheFirstPacket(w policyWorld) {
	w.policy("blue", "deny", "podSelector: {matchLabels: {app: late}}\npolicyTypes: [Egress]")
	w.policy("red", "late", "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {greeted: 'yes'}}}]}]")
	w.denied("blue/other > tcp red/web:8080")
	for _, pod := range []struct{ name, app, greeted, peer, want string }{
		{"late-denied", "late", "no", "blue/other", "silence"}, // who lets everybody in
		{"late-allowed", "early", "yes", "red/web", "web"},
	} {
		w.apply(`apiVersion: v1
kind: Pod
metadata: {name: ` + pod.name + `, namespace: blue, labels: {app: ` + pod.app + `, greeted: '` + pod.greeted + `'}}
spec:
  restartPolicy: Never
  containers:
  - {name: first, image: boxyard/base, command: [sh, -c, "nc -w 1 ` + w.addresses[pod.peer] + ` 8080 2>/dev/null || echo silence"]}
`)
		w.kubectl("wait", "pod/"+pod.name, "--namespace", "blue", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
		if out := w.kubectl("logs", pod.name, "--namespace", "blue"); out != pod.want {
			w.t.Errorf("%s got %q with its first packet, want %q", pod.name, out, pod.want)
		}
	}
	w.kubectl("delete", "pod", "late-denied", "late-allowed", "--namespace", "blue", "--now")
}

// policyTableFlushed: a firewall of the host that is loaded anew flushes everything.
func policyTableFlushed(w policyWorld) {
	w.policy("red", "deny", "podSelector: {}")
	w.denied("blue/client > tcp red/web:8080")
	w.sh("nft delete table inet boxyard-policy")
	w.eventually(10*time.Second, "the table is made again", func() error { return w.hasTable(true) })
	w.denied("blue/client > tcp red/web:8080")
}

// policiesDocument runs what docs/kubernetes.md says about NetworkPolicies.
func policiesDocument(w policyWorld) {
	script := fenced(w.box, filepath.Join("..", "..", "docs", "kubernetes.md"), "```sh policies")
	if script == "" {
		w.t.Fatal("docs/kubernetes.md has no commands about NetworkPolicies")
	}
	script = strings.ReplaceAll(script, "sudo ", "")
	w.sh("set -ex; export PATH=$PATH:/var/lib/boxyard/bin:" + filepath.Dir(w.Binary) + "\n" + script)
}
