//go:build integration

package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestSecurity holds docs/security.md against a running instance, number by number.
func TestSecurity(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	// One pod has been made, so that all files are there.
	b.kubectl("run", "secured", "--image=boxyard/base", "--command", "--", "sleep", "3600")
	b.kubectl("wait", "pod/secured", "--for=condition=Ready", "--timeout=60s")
	stated, look := benchmarkRows(b), newInspection(b)
	for _, number := range benchmarkNumbers() {
		verdict, ok := stated[number]
		if !ok {
			t.Errorf("docs/security.md says nothing of %s", number)
			continue
		}
		delete(stated, number)
		check, ok := look.checks()[number]
		if !ok {
			if verdict == "met" {
				t.Errorf("%s is said to be met, and nothing here looks", number)
			}
			continue
		}
		if err := check(); (err == nil) != (verdict == "met") {
			t.Errorf("%s: docs/security.md says %q, and the instance: %v", number, verdict, err)
		}
	}
	if len(stated) > 0 {
		t.Errorf("docs/security.md has numbers that the benchmark has not: %v", stated)
	}
	t.Run("anonymous", func(t *testing.T) { anonymous(box{Instance: b.Instance, t: t}) })
	t.Run("ciphers", func(t *testing.T) { ciphers(box{Instance: b.Instance, t: t}) })
	t.Run("secrets at rest", func(t *testing.T) { secretsAtRest(box{Instance: b.Instance, t: t}) })
	t.Run("no audit log", func(t *testing.T) {
		if _, err := os.Stat(b.LogPath("boxyard", "audit")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there is an audit log that nobody asked for: %v", err)
		}
	})
}

// benchmarkNumbers are those of the CIS Kubernetes Benchmark 1.12, sections 1 to 4.
func benchmarkNumbers() []string {
	var numbers []string
	for _, section := range []struct {
		name  string
		count int
	}{{"1.1", 21}, {"1.2", 30}, {"1.3", 7}, {"1.4", 2}, {"2", 7}, {"3.1", 3}, {"3.2", 2}, {"4.1", 10}, {"4.2", 14}, {"4.3", 1}} {
		for i := range section.count {
			numbers = append(numbers, fmt.Sprintf("%s.%d", section.name, i+1))
		}
	}
	return numbers
}

// benchmarkRows are the verdicts of docs/security.md by number.
func benchmarkRows(b box) map[string]string {
	b.t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	rows := make(map[string]string)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 6 {
			continue
		}
		number, verdict := strings.TrimSpace(cells[1]), strings.Trim(strings.TrimSpace(cells[3]), "*")
		if !slices.Contains([]string{"met", "none", "deviates"}, verdict) {
			continue
		}
		if _, twice := rows[number]; twice {
			b.t.Errorf("docs/security.md has %s twice", number)
		}
		if verdict == "deviates" && strings.TrimSpace(cells[4]) == "" {
			b.t.Errorf("docs/security.md gives no reason for %s", number)
		}
		rows[number] = verdict
	}
	return rows
}

// inspection is what the parts say of themselves.
type inspection struct {
	box
	api, manager, scheduler map[string]string // flags
	kubelet                 map[string]any    // its live configuration
}

func newInspection(b box) inspection {
	b.t.Helper()
	in := inspection{box: b}
	api, err := b.API(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for server, into := range map[string]*map[string]string{
		harness.APIServer: &in.api, "https://127.0.0.1:10257": &in.manager, "https://127.0.0.1:10259": &in.scheduler,
	} {
		if *into, err = api.Flags(b.t.Context(), server); err != nil || len(*into) < 20 {
			b.t.Fatalf("flags of %s: %v, %v", server, *into, err)
		}
	}
	node := b.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
	var configz struct {
		Kubelet map[string]any `json:"kubeletconfig"`
	}
	b.json(&configz, b.kubectl("get", "--raw", "/api/v1/nodes/"+node+"/proxy/configz"))
	in.kubelet = configz.Kubelet
	return in
}

// client speaks from inside the instance.
func (b box) client(config *tls.Config) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: b.Dial, TLSClientConfig: config, DisableKeepAlives: true}}
}

// anonymous: without credentials there is health, and nothing else.
func anonymous(b box) {
	client := b.client(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is the instance's loopback
	for url, want := range map[string]int{
		"https://127.0.0.1:6443/livez": 200, "https://127.0.0.1:6443/readyz": 200,
		"https://127.0.0.1:6443/api": 401, "https://127.0.0.1:6443/version": 401, "https://127.0.0.1:6443/flagz": 401, "https://127.0.0.1:6443/debug/pprof/": 401,
		"https://127.0.0.1:10257/healthz": 200, "https://127.0.0.1:10257/metrics": 403, "https://127.0.0.1:10259/metrics": 403,
		"https://10.42.0.1:10250/pods": 401, "https://10.42.0.1:10250/metrics": 401,
	} {
		response, err := client.Get(url) //nolint:noctx // the client has a timeout
		if err != nil {
			b.t.Error(err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			b.t.Errorf("%s: %s, want %d", url, response.Status, want)
		}
	}
}

// ciphers: a weak one, and an old TLS, is refused by every server.
func ciphers(b box) {
	for _, address := range []string{"127.0.0.1:6443", "127.0.0.1:10257", "127.0.0.1:10259", "10.42.0.1:10250"} {
		for name, config := range map[string]*tls.Config{
			"TLS 1.1":    {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			"a CBC mode": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
		} {
			config.InsecureSkipVerify = true
			if err := b.handshake(address, config); err == nil {
				b.t.Errorf("%s accepts %s", address, name)
			}
		}
		if err := b.handshake(address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err != nil { //nolint:gosec // as above
			b.t.Errorf("%s refuses TLS 1.2: %v", address, err)
		}
	}
}

// handshake also reads: in TLS 1.3 a client learns only then that its certificate is missed.
func (b box) handshake(address string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := b.Dial(ctx, "tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := tls.Client(conn, config)
	if err := client.HandshakeContext(ctx); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// secretsAtRest: what is in a Secret is nowhere in etcd's files, and what is in a ConfigMap is.
func secretsAtRest(b box) {
	b.kubectl("create", "secret", "generic", "atrest", "--from-literal=key=in-a-secret-7f3a")
	b.kubectl("create", "configmap", "atrest", "--from-literal=key=in-a-configmap-7f3a")
	grep := func(text string) string {
		return b.sh("grep -rl " + text + " /var/lib/boxyard/cluster/etcd | wc -l")
	}
	if n := grep("in-a-configmap-7f3a"); n == "0" {
		b.t.Error("a ConfigMap is not found in etcd's files: the test looks in the wrong place")
	}
	if n := grep("in-a-secret-7f3a"); n != "0" {
		b.t.Errorf("%s files of etcd show a Secret", n)
	}
}

// show is for messages.
func show(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
