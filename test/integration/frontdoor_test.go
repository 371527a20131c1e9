//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestFrontDoor starts with somebody else on port 80, and goes on with everything that names reach.
func TestFrontDoor(t *testing.T) {
	b := newBox(t, harness.Options{})
	portInUse(b)
	b.build("doored:1", server("one"))
	b.deploy("doored", "doored:1", 1)
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"a Service by name", serviceByName},
		{"a container by name", containerByName},
		{"what cannot be reached", unreachable},
		{"the cluster is killed", doorWithoutCluster},
		{"a container publishes port 80", containerPublishesPort},
		{"url", everyWay},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// TestFrontDoorWithoutCluster serves what there is, on the port that is configured.
func TestFrontDoorWithoutCluster(t *testing.T) {
	b := newBox(t, harness.Options{Config: "without: [cluster]\nfrontDoor: {port: 8000}\n"})
	b.up()
	b.build("doored:1", server("one"))
	b.docker("run", "--detach", "--name", "shown", "--expose", "8080", "doored:1")
	b.opens("http://shown.docker.localhost:8000/", "one")
	b.says(404, []string{"There is no web.default.localhost", "http://shown.docker.localhost:8000"}, "http://web.default.localhost:8000/")
	if out := b.boxyard("url", "shown"); !strings.Contains(out, "http://shown.docker.localhost:8000") {
		t.Errorf("url:\n%s", out)
	}
	if out := b.sh("ss -H -ltn 'sport = :80'"); out != "" {
		t.Errorf("somebody listens on port 80: %s", out)
	}
}

// curl is what a user types. It takes names under .localhost to loopback by itself.
func (b box) curl(args ...string) (string, error) {
	b.t.Helper()
	result, err := b.Exec(b.t.Context(), harness.Command{Name: "curl", Args: append([]string{"--silent", "--show-error", "--max-time", "10"}, args...)})
	if err != nil {
		return "", err
	}
	if result.Code != 0 {
		return result.Stdout, fmt.Errorf("curl %v: exit code %d: %s", args, result.Code, result.Output())
	}
	return result.Stdout, nil
}

// opens expects the front door to lead to the text.
func (b box) opens(url, text string) {
	b.t.Helper()
	b.eventually(20*time.Second, url+" answers", func() error {
		out, err := b.curl(url)
		if err == nil && !strings.Contains(out, text) {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
}

// says expects an answer of the front door itself.
func (b box) says(code int, words []string, args ...string) {
	b.t.Helper()
	b.eventually(20*time.Second, fmt.Sprint(args, " is answered by ", code), func() error {
		out, err := b.curl(append(args, "--write-out", "\nstatus %{http_code}")...)
		if err != nil {
			return err
		}
		for _, word := range append(words, fmt.Sprintf("\nstatus %d", code)) {
			if !strings.Contains(out, word) {
				return fmt.Errorf("without %q: %s", word, out)
			}
		}
		return nil
	})
}

func (b box) doorWarning() string {
	b.t.Helper()
	for _, c := range b.status().Components {
		if c.Name == "front-door" {
			return c.Warning
		}
	}
	b.t.Fatal("there is no front-door in the status")
	return ""
}

// portInUse: `up` says who has the port, and succeeds; the front door takes it when it is free.
func portInUse(b box) {
	var other net.Listener
	err := b.Inside(func() error {
		var err error
		other, err = new(net.ListenConfig).Listen(b.t.Context(), "tcp4", "0.0.0.0:80")
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	holder := fmt.Sprintf("(pid %d)", os.Getpid())
	out := b.up()
	table := b.boxyard("status")
	for _, word := range []string{"front-door: port 80 is in use by", holder, "frontDoor.port"} {
		if !strings.Contains(out, word) {
			b.t.Errorf("up does not say %q:\n%s", word, out)
		}
		if !strings.Contains(table, word) {
			b.t.Errorf("status does not say %q:\n%s", word, table)
		}
	}
	if status := b.status(); !status.Ready {
		b.t.Errorf("a port that is in use keeps it from being ready: %+v", status)
	}
	_ = other.Close()
	b.eventually(10*time.Second, "the front door takes the port", func() error {
		if w := b.doorWarning(); w != "" {
			return fmt.Errorf("warning %q", w)
		}
		return nil
	})
}

func serviceByName(b box) {
	b.opens("http://doored.default.localhost/", "one")
	b.opens("http://DOORED.default.localhost:80/", "one")
	// For clients that do not know names under .localhost.
	if out, err := b.curl("-H", "Host: doored.default.localhost", "http://127.0.0.1/"); err != nil || !strings.Contains(out, "one") {
		b.t.Errorf("by the Host header: %q, %v", out, err)
	}
	if out, err := b.curl("--http2-prior-knowledge", "http://doored.default.localhost/"); err != nil || !strings.Contains(out, "one") {
		b.t.Errorf("over HTTP/2: %q, %v", out, err)
	}
}

func containerByName(b box) {
	b.docker("run", "--detach", "--name", "shown", "--expose", "8080", "doored:1")
	defer b.docker("rm", "--force", "shown")
	b.opens("http://shown.docker.localhost/", "one")
	b.docker("stop", "--time", "0", "shown")
	b.says(503, []string{"exited", "docker start shown"}, "http://shown.docker.localhost/")
	b.docker("start", "shown")
	b.opens("http://shown.docker.localhost/", "one")
	project := b.t.TempDir()
	if err := os.WriteFile(project+"/compose.yaml", []byte("name: shop\nservices:\n  api:\n    image: doored:1\n    expose: [8080]\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	compose := []string{"compose", "--file", project + "/compose.yaml"}
	b.docker(append(compose, "up", "--detach")...)
	defer b.docker(append(compose, "down", "--timeout", "0")...)
	b.opens("http://api.shop.docker.localhost/", "one")
	b.opens("http://shop-api-1.docker.localhost/", "one")
}

func unreachable(b box) {
	b.says(404, []string{"There is no dored.default.localhost", "http://doored.default.localhost"}, "http://dored.default.localhost/")
	b.says(404, []string{"<a href=\"http://doored.default.localhost\">"}, "-H", "Accept: text/html", "http://localhost/")
	b.says(421, []string{"names that end in .localhost only"}, "-H", "Host: rebound.example", "http://127.0.0.1/")
	b.says(403, nil, "-H", "Origin: https://elsewhere.example", "http://doored.default.localhost/")
	b.kubectl("scale", "deployment/doored", "--replicas=0")
	b.kubectl("delete", "pods", "-l", "app=doored", "--now") // one that is ending answers until its end
	b.says(503, []string{"the service default/doored has no ready endpoints"}, "http://doored.default.localhost/")
	b.kubectl("scale", "deployment/doored", "--replicas=1")
	b.rolledOut("doored")
	b.opens("http://doored.default.localhost/", "one")
	b.kubectl("create", "service", "externalname", "outside", "--external-name=example.org")
	b.says(404, []string{"stands for the name example.org"}, "http://outside.default.localhost/")
	b.kubectl("delete", "service", "outside")
	b.says(404, []string{"There is no outside.default.localhost"}, "http://outside.default.localhost/")
}

// doorWithoutCluster: names go on while the cluster process is away, and nobody had to ask for them before.
func doorWithoutCluster(b box) {
	b.kubectl("expose", "deployment", "doored", "--name=unasked", "--port=80", "--target-port=8080")
	b.says(404, []string{"http://unasked.default.localhost"}, "http://localhost/")
	b.serves("unasked", "one") // kube-proxy knows it
	// A cluster that is back before both names were asked proves nothing: the next one is away for longer.
	killed := 0
	for attempts := 1; ; attempts++ {
		killed = b.status().PIDOf("cluster")
		if n, err := b.Kill("cluster"); err != nil || n != 1 {
			b.t.Fatalf("%d processes killed: %v", n, err)
		}
		for _, name := range []string{"doored", "unasked"} {
			if out, err := b.curl("http://" + name + ".default.localhost/"); err != nil || !strings.Contains(out, "one") {
				b.t.Errorf("while the cluster is away: %q, %v", out, err)
			}
		}
		if !b.apiAnswers() {
			break
		}
		if attempts == 5 {
			b.t.Fatal("the cluster was back each time before the names were asked")
		}
	}
	b.succeeded("cluster", killed)
	b.kubectl("delete", "service", "unasked")
	b.says(404, []string{"There is no unasked.default.localhost"}, "http://unasked.default.localhost/")
}

// apiAnswers says whether the API server speaks TLS. Its socket takes connections long before that,
// while it starts.
func (b box) apiAnswers() bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 300*time.Millisecond)
	defer cancel()
	conn, err := b.Dial(ctx, "tcp", "127.0.0.1:6443")
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) == nil //nolint:gosec // nothing is sent
}

// containerPublishesPort: what a user publishes goes before our default, and the port comes back.
func containerPublishesPort(b box) {
	for range 3 {
		b.docker("run", "--detach", "--name", "eighty", "--publish", "80:8080", "doored:1")
		if out, err := b.curl("http://127.0.0.1/"); err != nil || !strings.Contains(out, "one") {
			b.t.Errorf("the published port: %q, %v", out, err)
		}
		if w := b.doorWarning(); !strings.Contains(w, "published by the container eighty") {
			b.t.Errorf("warning %q", w)
		}
		b.docker("restart", "--time", "0", "eighty")
		b.docker("rm", "--force", "eighty")
		b.opens("http://doored.default.localhost/", "one")
	}
}

func everyWay(b box) {
	b.kubectl("patch", "service", "doored", "--patch", `{"spec":{"type":"NodePort"}}`)
	b.docker("run", "--detach", "--name", "shown", "--publish", "127.0.0.1:8181:8080", "doored:1")
	defer b.docker("rm", "--force", "shown")
	for _, tt := range []struct {
		args  []string
		kinds []string
	}{
		{[]string{"svc/doored"}, []string{"clusterIP", "frontDoor", "nodePort"}},
		{[]string{"svc/doored.default"}, []string{"clusterIP", "frontDoor", "nodePort"}},
		{[]string{"doored", "-n", "default"}, []string{"clusterIP", "frontDoor", "nodePort"}},
		{[]string{"doored"}, []string{"clusterIP", "frontDoor", "nodePort"}}, // no container has that name
		{[]string{"shown"}, []string{"container", "frontDoor", "published"}},
		{[]string{"container/shown"}, []string{"container", "frontDoor", "published"}},
	} {
		var found struct {
			URLs []string `json:"urls"`
			Ways []struct{ Kind, URL, Address, Host string }
		}
		if err := json.Unmarshal([]byte(b.boxyard(append([]string{"url", "-o", "json"}, tt.args...)...)), &found); err != nil {
			b.t.Fatal(err)
		}
		kinds := map[string]bool{}
		for _, w := range found.Ways {
			kinds[w.Kind] = true
			b.opens(w.URL, "one")
			if w.Host != "" {
				if out, err := b.curl("-H", "Host: "+w.Host, "http://"+w.Address); err != nil || !strings.Contains(out, "one") {
					b.t.Errorf("%v by the Host header: %q, %v", tt.args, out, err)
				}
			}
		}
		for _, kind := range tt.kinds {
			if !kinds[kind] {
				b.t.Errorf("url %v: no %s in %+v", tt.args, kind, found.Ways)
			}
		}
		if lines := strings.Fields(b.boxyard(append([]string{"url"}, tt.args...)...)); strings.Join(lines, " ") != strings.Join(found.URLs, " ") {
			b.t.Errorf("url %v: %v, in JSON %v", tt.args, lines, found.URLs)
		}
	}
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"url", "shwon"}})
	if err != nil || result.Code != 1 || !strings.Contains(result.Stderr, "boxyard url shown") {
		b.t.Errorf("a misspelt container: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
}
