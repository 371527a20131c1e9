//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// whoServer says which pod answers, and whom it sees.
const whoServer = `FROM boxyard/base
RUN mkdir -p /www/cgi-bin && echo one > /www/index.html && \
 printf '#!/bin/sh\necho "Content-Type: text/plain"\necho\necho "$REMOTE_ADDR asked $HOSTNAME"\n' > /www/cgi-bin/who && chmod +x /www/cgi-bin/who
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
`

const (
	lanHost  = "192.0.2.10" // an address of the host on another network
	lanOther = "192.0.2.20" // another machine there
)

// TestServices reaches every type of Service from everywhere: the host, containers, pods, and another machine.
func TestServices(t *testing.T) {
	b := newBox(t, harness.Options{Config: "network: {loadBalancerPool: 10.46.0.4/30}\n"}) // two addresses
	b.up()
	b.sh("ip netns add lan && ip link add lan0 type veth peer name eth0 netns lan" +
		" && ip addr add " + lanHost + "/24 dev lan0 && ip link set lan0 up" +
		" && ip netns exec lan ip addr add " + lanOther + "/24 dev eth0 && ip netns exec lan ip link set eth0 up" +
		" && ip netns exec lan ip route add default via " + lanHost)
	b.build("who:1", whoServer)
	b.kubectl("create", "deployment", "who", "--image=who:1", "--replicas=2")
	b.kubectl("create", "deployment", "asker", "--image=boxyard/base", "--", "sleep", "3600")
	b.rolledOut("who")
	b.rolledOut("asker")
	each := func(parts ...part) {
		for _, p := range parts {
			t.Run(p.name, func(t *testing.T) { p.run(box{Instance: b.Instance, t: t}) })
		}
	}
	each(
		part{"load balancer", loadBalancer},
		part{"source ranges", sourceRanges},
		part{"local traffic policy", localTrafficPolicy},
		part{"other class", otherClass},
		part{"pool exhausted", poolExhausted},
		part{"node port", nodePort},
		part{"node port of UDP", nodePortUDP},
		part{"node port without endpoints", nodePortWithoutEndpoints},
		part{"cluster killed", clusterKilled},
		part{"external name", externalName},
		part{"headless", headless},
		part{"affinity", affinity},
		part{"document", servicesDocument},
	)
	b.boxyard("down")
	if left := b.sh("ip route show table all | grep '10[.]46[.]' || true; nft list tables | grep -e kube-proxy -e boxyard || true"); left != "" {
		t.Errorf("left after down:\n%s", left)
	}
	if err := b.SetConfig("network: {loadBalancerPool: node, nodePorts: loopback}\n"); err != nil {
		t.Fatal(err)
	}
	b.up()
	b.rolledOut("who")
	b.rolledOut("asker")
	each(
		part{"the node's address", nodeAddress},
		part{"node ports on loopback only", loopbackOnly},
	)
}

type part struct {
	name string
	run  func(box)
}

// service makes one of the pods who; what is in fields comes last.
func (b box) service(name, kind, fields string) {
	b.t.Helper()
	b.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {type: %s, selector: {app: who}, %s}}", name, kind, fields))
}

func (b box) serviceField(name, path string) string {
	b.t.Helper()
	return b.kubectl("get", "service", name, "-o", "jsonpath={"+path+"}")
}

// ingress waits for as many addresses.
func (b box) ingress(name string, n int) []string {
	b.t.Helper()
	var ips []string
	b.eventually(5*time.Second, fmt.Sprintf("service %s has %d addresses", name, n), func() error {
		out, err := b.Kubectl(b.t.Context(), "get", "service", name, "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}")
		if ips = strings.Fields(out); err == nil && len(ips) != n {
			err = fmt.Errorf("it has %q", out)
		}
		return err
	})
	return ips
}

func (b box) hasEvent(name, reason, words string) {
	b.t.Helper()
	b.eventually(20*time.Second, "event "+reason+" of service "+name, func() error {
		out, err := b.Kubectl(b.t.Context(), "get", "events", "--field-selector=involvedObject.kind=Service,reason="+reason+",involvedObject.name="+name, "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, words) {
			err = fmt.Errorf("%q lacks %q", out, words)
		}
		return err
	})
}

// Where a request may come from. Each prints the answer, and fails within three seconds.
func fromHost(url string) []string { return []string{"curl", "-gsS", "--fail", "--max-time", "3", url} }

func fromLAN(url string) []string {
	return append([]string{"ip", "netns", "exec", "lan"}, fromHost(url)...)
}

func (b box) fromPod(url string) []string {
	return []string{b.Binary, "kubectl", "exec", "deployment/asker", "--", "timeout", "3", "wget", "-qO-", url}
}

func (b box) fromContainer(url string) []string {
	return []string{b.Binary, "docker", "run", "--rm", "boxyard/base", "timeout", "3", "wget", "-qO-", url}
}

func (b box) asks(what string, command []string, words string) {
	b.t.Helper()
	b.eventually(10*time.Second, what, func() error {
		out, err := b.Run(b.t.Context(), command[0], command[1:]...)
		if err == nil && !strings.Contains(out, words) {
			err = fmt.Errorf("%q lacks %q", out, words)
		}
		return err
	})
}

func (b box) getsNothing(what string, command []string) {
	b.t.Helper()
	if out, err := b.Run(b.t.Context(), command[0], command[1:]...); err == nil {
		b.t.Errorf("%s is answered: %q", what, out)
	}
}

// hasIPv6 tells whether this instance is dual stack.
func (b box) hasIPv6() bool {
	return strings.Contains(b.kubectl("get", "nodes", "-o", "jsonpath={.items[0].spec.podCIDRs}"), ":")
}

func hostOf(ip string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]"
	}
	return ip
}

func loadBalancer(b box) {
	families := 1
	if b.hasIPv6() {
		families = 2
	}
	created := time.Now()
	b.service("lb", "LoadBalancer", "ipFamilyPolicy: PreferDualStack, ports: [{port: 80, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "lb")
	ips := b.ingress("lb", families)
	b.t.Logf("%v after %v", ips, time.Since(created).Round(time.Millisecond))
	if ips[0] != "10.46.0.5" {
		b.t.Errorf("the first address is %s", ips[0])
	}
	if got := b.serviceField("lb", ".status.loadBalancer.ingress[0]"); !strings.Contains(got, `"ipMode":"VIP"`) || !strings.Contains(got, `"ports":[{"port":80,"protocol":"TCP"}]`) {
		b.t.Errorf("status: %s", got)
	}
	for _, ip := range ips {
		url := "http://" + hostOf(ip) + "/"
		b.asks(ip+" from the host", fromHost(url), "one")
		b.asks(ip+" from a pod", b.fromPod(url), "one")
	}
	url := "http://" + ips[0] + "/"
	b.asks("from a container", b.fromContainer(url), "one")
	b.asks("from a machine that routes here", fromLAN(url), "one")
	if urls := b.boxyard("url", "svc/lb"); !strings.Contains(urls, "http://"+ips[0]+":80") || !strings.Contains(urls, "http://127.0.0.1:") {
		b.t.Errorf("boxyard url: %s", urls)
	}
	for u := range strings.FieldsSeq(b.boxyard("url", "svc/lb")) {
		if strings.HasPrefix(u, "http://127.0.0.1:3") {
			b.asks(u, fromHost(u), "one")
		}
	}
	b.getsNothing("an address that no Service has", fromHost("http://10.46.0.6/"))
}

func sourceRanges(b box) {
	b.service("ranged", "LoadBalancer", "loadBalancerSourceRanges: ["+lanOther+"/32], ports: [{port: 80, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "ranged")
	url := "http://" + b.ingress("ranged", 1)[0] + "/"
	b.asks("from the range", fromLAN(url), "one")
	b.getsNothing("the host, which is not in the range,", fromHost(url))
	b.getsNothing("a pod, which is not in the range,", b.fromPod(url))
	b.service("ranged", "LoadBalancer", "loadBalancerSourceRanges: [10.42.0.1/32], ports: [{port: 80, targetPort: 8080}]")
	b.asks("the node is in the range", fromHost(url), "one")
	b.getsNothing("the other machine, which no longer is,", fromLAN(url))
}

func localTrafficPolicy(b box) {
	b.service("local", "LoadBalancer", "externalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "local")
	ip := b.ingress("local", 1)[0]
	b.asks("the pod sees who asks", fromLAN("http://"+ip+"/cgi-bin/who"), lanOther)
	b.asks("by the node port too", fromLAN("http://"+lanHost+":"+b.serviceField("local", ".spec.ports[0].nodePort")+"/cgi-bin/who"), lanOther)
	b.asks("from the host", fromHost("http://"+ip+"/cgi-bin/who"), "asked who-")
	b.asks("the health check counts", fromHost("http://"+lanHost+":"+b.serviceField("local", ".spec.healthCheckNodePort")+"/"), `"localEndpoints": 2`)
}

func otherClass(b box) {
	b.service("theirs", "LoadBalancer", "loadBalancerClass: example.com/theirs, ports: [{port: 80, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "theirs")
	b.service("ours", "LoadBalancer", "loadBalancerClass: boxyard.dev/local, ports: [{port: 80, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "ours")
	b.ingress("ours", 1)
	b.hasEvent("theirs", "OtherLoadBalancerClass", "example.com/theirs")
	if got := b.serviceField("theirs", ".status.loadBalancer") + b.serviceField("theirs", ".metadata.finalizers"); got != "{}" {
		b.t.Errorf("a Service of another class was touched: %s", got)
	}
}

func poolExhausted(b box) {
	const ports = "ports: [{port: 80, targetPort: 8080}]"
	for _, name := range []string{"first", "second", "third"} {
		b.service(name, "LoadBalancer", ports)
		defer func() { _, _ = b.Kubectl(context.Background(), "delete", "service", name, "--ignore-not-found") }()
		if name != "third" {
			b.ingress(name, 1)
		}
	}
	b.hasEvent("third", "NoAddressLeft", "no address is left in the pool 10.46.0.4/30: in use by default/first, default/second")
	was := b.ingress("second", 1)[0]
	b.kubectl("delete", "service", "second")
	if got := b.ingress("third", 1)[0]; got != was {
		b.t.Errorf("third has %s, not %s, which came free", got, was)
	}
	b.asks("the Service that waited", fromHost("http://"+was+"/"), "one")
	b.kubectl("patch", "service", "first", "--patch", `{"spec":{"type":"ClusterIP"}}`)
	b.ingress("first", 0)
	b.eventually(5*time.Second, "the finalizer goes with the type", func() error {
		if left := b.serviceField("first", ".metadata.finalizers"); left != "" {
			return errors.New(left)
		}
		return nil
	})
	b.service("second", "LoadBalancer", "loadBalancerIP: 10.46.0.5, "+ports)
	if got := b.ingress("second", 1)[0]; got != "10.46.0.5" {
		b.t.Errorf("asked for 10.46.0.5, got %s", got)
	}
}

// nodePort answers everywhere, and takes no port from those who have others.
func nodePort(b box) {
	b.service("ported", "NodePort", "ipFamilyPolicy: PreferDualStack, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]")
	defer b.kubectl("delete", "service", "ported")
	hosts := []string{"127.0.0.1", "10.42.0.1", lanHost}
	if b.hasIPv6() {
		hosts = append(hosts, "[::1]", "[fd42:b0c5:42::1]")
	}
	for _, host := range hosts {
		b.asks("from the host by "+host, fromHost("http://"+host+":30080/"), "one")
	}
	b.asks("from a client with another loopback address", append(fromHost("http://127.0.0.1:30080/"), "--interface", "127.0.0.9"), "one")
	b.asks("from another machine", fromLAN("http://"+lanHost+":30080/"), "one")
	b.asks("from a pod", b.fromPod("http://10.42.0.1:30080/"), "one")
	b.asks("from a container", b.fromContainer("http://10.42.0.1:30080/"), "one")
	b.asks("from a container by another address", b.fromContainer("http://"+lanHost+":30080/"), "one")

	// A large answer, and one to a client whose own port is a node port.
	if out := b.sh("curl -sS --max-time 20 http://127.0.0.1:30080/index.html http://127.0.0.1:30080/index.html | wc -l"); out != "2" {
		b.t.Errorf("two requests, %s answers", out)
	}
	own := b.listen("tcp", "127.0.0.1:5432")
	b.own(own, "127.0.0.1:30080", "127.0.0.1:5432")
	// Ports that no Service has are the user's, and Docker's.
	near := b.listen("tcp", "127.0.0.1:30081")
	b.own(near, "", "127.0.0.1:30081")
	b.docker("run", "--detach", "--name", "published", "--publish", "8093:8080", "who:1")
	defer b.docker("rm", "--force", "published")
	b.asks("a published port on 127.0.0.1", fromHost("http://127.0.0.1:8093/"), "one")
	b.asks("a published port on another address", fromHost("http://"+lanHost+":8093/"), "one")
}

// own connects to a listener of ours, from an address where one is given, and expects its word.
func (b box) own(l net.Listener, from, to string) {
	b.t.Helper()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = conn.Write([]byte("mine"))
			_ = conn.Close()
		}
	}()
	dialer := net.Dialer{Timeout: 3 * time.Second}
	if from != "" {
		local, err := net.ResolveTCPAddr("tcp", from)
		if err != nil {
			b.t.Fatal(err)
		}
		dialer.LocalAddr = local
	}
	err := b.Inside(func() error {
		conn, err := dialer.DialContext(b.t.Context(), "tcp", to)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		word := make([]byte, 4)
		if _, err := conn.Read(word); err != nil || string(word) != "mine" {
			return fmt.Errorf("got %q, %w", word, err)
		}
		return nil
	})
	if err != nil {
		b.t.Errorf("a listener of the user's, from %q to %s: %v", from, to, err)
	}
}

// nodePortUDP: a Service whose endpoint is on the node itself.
func nodePortUDP(b box) {
	b.apply(`{apiVersion: v1, kind: Service, metadata: {name: names}, spec: {type: NodePort, ports: [{port: 53, protocol: UDP, nodePort: 30053}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: names-1, labels: {kubernetes.io/service-name: names}}, addressType: IPv4,
 ports: [{port: 10053, protocol: UDP}], endpoints: [{addresses: [10.42.0.1]}]}
`)
	defer b.kubectl("delete", "service/names", "endpointslice/names-1")
	for _, host := range []string{"10.42.0.1", "127.0.0.1"} {
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return b.Dial(ctx, "udp", host+":30053")
		}}
		b.eventually(10*time.Second, "UDP to "+host+":30053", func() error {
			ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Second)
			defer cancel()
			ips, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
			if err == nil && !slices.Contains(ips, "10.43.0.1") {
				err = fmt.Errorf("got %v", ips)
			}
			return err
		})
	}
}

// nodePortWithoutEndpoints is refused at once, everywhere.
func nodePortWithoutEndpoints(b box) {
	b.apply("{apiVersion: v1, kind: Service, metadata: {name: empty}, spec: {type: NodePort, selector: {app: none}, ports: [{port: 80, nodePort: 30099}]}}")
	defer b.kubectl("delete", "service", "empty")
	for _, host := range []string{"127.0.0.1", "10.42.0.1"} {
		b.eventually(5*time.Second, host+":30099 is refused", func() error {
			const refused = 7 // curl's exit code
			result, err := b.Exec(b.t.Context(), harness.Command{Name: "curl", Args: fromHost("http://" + host + ":30099/")[1:]})
			if err == nil && result.Code != refused {
				err = fmt.Errorf("exit code %d: %s", result.Code, result.Output())
			}
			return err
		})
	}
}

// clusterKilled: what was reachable stays so while the cluster process is away, and after.
func clusterKilled(b box) {
	b.service("lasting", "LoadBalancer", "ports: [{port: 80, targetPort: 8080, nodePort: 30085}]")
	defer b.kubectl("delete", "service", "lasting")
	ip := b.ingress("lasting", 1)[0]
	b.asks("before", fromHost("http://127.0.0.1:30085/"), "one")
	b.asks("before, by its address", fromHost("http://"+ip+"/"), "one")
	for range 2 {
		was := b.status().PIDOf("cluster")
		if n, err := b.Kill("cluster"); n != 1 || err != nil {
			b.t.Fatalf("killed %d: %v", n, err)
		}
		for _, url := range []string{"http://127.0.0.1:30085/", "http://" + ip + "/"} {
			if out, err := b.Run(b.t.Context(), "curl", fromHost(url)[1:]...); err != nil || !strings.Contains(out, "one") {
				b.t.Errorf("%s while the cluster is away: %q, %v", url, out, err)
			}
		}
		b.eventually(20*time.Second, "the cluster is started anew", func() error {
			status, err := b.Status(b.t.Context())
			if pid := status.PIDOf("cluster"); err == nil && (pid == 0 || pid == was) {
				err = fmt.Errorf("pid %d", pid)
			}
			return err
		})
		b.ready(60*time.Second, "after kill -9 of the cluster")
		if got := b.ingress("lasting", 1)[0]; got != ip {
			b.t.Errorf("the address was %s and is %s", ip, got)
		}
		b.asks("after", fromHost("http://127.0.0.1:30085/"), "one")
	}
	b.sh("nft delete table inet boxyard-nodeports") // as a firewall does that is loaded anew
	b.eventually(45*time.Second, "the rules come back", func() error {
		_, err := b.Run(b.t.Context(), "curl", fromHost("http://127.0.0.1:30085/")[1:]...)
		return err
	})
}

func externalName(b box) {
	b.apply("{apiVersion: v1, kind: Service, metadata: {name: outside}, spec: {type: ExternalName, externalName: kubernetes.default.svc.cluster.local}}")
	defer b.kubectl("delete", "service", "outside")
	b.asks("a pod resolves it", []string{b.Binary, "kubectl", "exec", "deployment/asker", "--", "nslookup", "outside.default.svc.cluster.local"}, "10.43.0.1")
}

func headless(b box) {
	b.service("bare", "ClusterIP", "clusterIP: None, ports: [{port: 8080}]")
	defer b.kubectl("delete", "service", "bare")
	ips := strings.Fields(b.kubectl("get", "pods", "-l", "app=who", "-o", "jsonpath={.items[*].status.podIP}"))
	if len(ips) != 2 {
		b.t.Fatalf("pods: %v", ips)
	}
	for _, ip := range ips {
		b.asks("its name stands for "+ip, []string{b.Binary, "kubectl", "exec", "deployment/asker", "--", "nslookup", "bare.default.svc.cluster.local"}, ip)
	}
	b.asks("its name is served", b.fromPod("http://bare.default.svc.cluster.local:8080/"), "one")
}

// affinity: one client stays with one pod, by every address; without affinity both are seen.
func affinity(b box) {
	b.service("sticky", "LoadBalancer", "sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080, nodePort: 30086}]")
	defer b.kubectl("delete", "service", "sticky")
	urls := []string{
		"http://" + b.ingress("sticky", 1)[0] + "/cgi-bin/who", "http://127.0.0.1:30086/cgi-bin/who",
		"http://10.42.0.1:30086/cgi-bin/who", "http://" + b.serviceField("sticky", ".spec.clusterIP") + "/cgi-bin/who",
	}
	for _, url := range urls {
		b.asks(url, fromHost(url), "asked who-")
	}
	pods := func() int {
		seen := map[string]bool{}
		for line := range strings.SplitSeq(b.sh("for i in 1 2 3 4 5 6 7 8; do curl -sS --max-time 3 "+strings.Join(urls, " ")+"; done"), "\n") {
			if _, pod, found := strings.Cut(line, " asked "); found {
				seen[pod] = true
			}
		}
		return len(seen)
	}
	if n := pods(); n != 1 {
		b.t.Errorf("with affinity %d pods answer one client", n)
	}
	b.kubectl("patch", "service", "sticky", "--patch", `{"spec":{"sessionAffinity":"None"}}`)
	b.eventually(10*time.Second, "without affinity both pods answer", func() error {
		if n := pods(); n != 2 {
			return fmt.Errorf("%d answer", n)
		}
		return nil
	})
}

// servicesDocument runs what docs/kubernetes.md says about Services.
func servicesDocument(b box) {
	script := fenced(b, filepath.Join("..", "..", "docs", "kubernetes.md"), "```sh services")
	if script == "" {
		b.t.Fatal("docs/kubernetes.md has no commands about Services")
	}
	b.sh("set -ex; export PATH=$PATH:/var/lib/boxyard/bin:" + filepath.Dir(b.Binary) + "\n" + script)
}

// nodeAddress: Services share the node's own address, as long as their ports differ.
func nodeAddress(b box) {
	b.service("one", "LoadBalancer", "ports: [{port: 8000, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "one", "--ignore-not-found")
	b.service("two", "LoadBalancer", "ports: [{port: 8001, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "two")
	for port, name := range map[string]string{"8000": "one", "8001": "two"} {
		if ip := b.ingress(name, 1)[0]; ip != "10.42.0.1" {
			b.t.Errorf("%s has %s", name, ip)
		}
		b.asks("from the host", fromHost("http://10.42.0.1:"+port+"/"), "one")
		b.asks("from a pod", b.fromPod("http://10.42.0.1:"+port+"/"), "one")
		b.asks("from a container", b.fromContainer("http://10.42.0.1:"+port+"/"), "one")
	}
	b.service("three", "LoadBalancer", "ports: [{port: 8000, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "three")
	b.service("api", "LoadBalancer", "ports: [{port: 6443, targetPort: 8080}]")
	defer b.kubectl("delete", "service", "api")
	b.hasEvent("three", "PortTaken", "port 8000/TCP")
	b.hasEvent("api", "PortTaken", "the Kubernetes API")
	if got := b.serviceField("three", `.status.conditions[?(@.type=="LoadBalancerPortsError")].status`); got != "True" {
		b.t.Errorf("condition LoadBalancerPortsError: %q", got)
	}
	b.kubectl("delete", "service", "one")
	b.ingress("three", 1)
	b.asks("the Service that waited", fromHost("http://10.42.0.1:8000/"), "one")
}

// loopbackOnly: other machines and other addresses are kept out.
func loopbackOnly(b box) {
	b.service("inner", "NodePort", "ports: [{port: 80, targetPort: 8080, nodePort: 30087}]")
	defer b.kubectl("delete", "service", "inner")
	b.asks("127.0.0.1", fromHost("http://127.0.0.1:30087/"), "one")
	b.asks("the node's address", fromHost("http://10.42.0.1:30087/"), "one")
	b.asks("the node's address from a pod", b.fromPod("http://10.42.0.1:30087/"), "one")
	b.asks("the node's address from a container", b.fromContainer("http://10.42.0.1:30087/"), "one")
	b.getsNothing("another address of the host", fromHost("http://"+lanHost+":30087/"))
	b.getsNothing("another machine", fromLAN("http://"+lanHost+":30087/"))
}
