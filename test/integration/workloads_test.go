//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// serverImage has the program of test/server in it.
const serverImage = "boxyard-test/server:1"

// TestWorkloads runs one of everything that Kubernetes runs, all at once, each in a namespace of its own.
func TestWorkloads(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	b.buildServer()
	var all sync.WaitGroup
	for _, part := range []struct {
		name string
		run  func(workload)
	}{
		{"statefulset", statefulSet},
		{"daemonset", daemonSet},
		{"jobs", jobs},
		{"init-and-sidecar", initAndSidecar},
		{"configuration", configuration},
		{"probes", probes},
		{"disruption-budget", disruptionBudget},
		{"preemption", preemption},
		{"quota-and-limits", quotaAndLimits},
		{"pod-security", podSecurity},
		{"admission-policy", admissionPolicy},
		{"webhook", webhook},
		{"webhook-down", webhookDown},
		{"conversion", conversion},
		{"aggregated-api", aggregatedAPI},
		{"server-side-apply", serverSideApply},
		{"resize", resize},
		{"user-namespace", userNamespace},
		{"seccomp", seccomp},
		{"pid-limit", pidLimit},
	} {
		// Not t.Parallel: it runs as many at a time as there are processors, and these mostly wait.
		all.Go(func() {
			t.Run(part.name, func(t *testing.T) { part.run(newWorkload(box{Instance: b.Instance, t: t}, part.name)) })
		})
	}
	all.Wait()
	b.shimIsAtHome()
}

// shimIsAtHome fails when the main thread of a shim has stayed in the mount namespace of a container: runc's library has
// threads join those.
func (b box) shimIsAtHome() {
	b.t.Helper()
	namespaces := map[string]bool{}
	for _, part := range []string{"containerd", "containerd-shim-runc-v2"} {
		processes, err := b.Part(part)
		if err != nil || len(processes) == 0 {
			b.t.Fatalf("the processes of %s: %v, %v", part, processes, err)
		}
		for _, p := range processes {
			namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", p.PID))
			if err != nil {
				b.t.Fatal(err)
			}
			namespaces[namespace] = true
		}
	}
	if len(namespaces) != 1 {
		b.t.Errorf("containerd and its shims are in the mount namespaces %v", namespaces)
	}
}

// buildServer makes the image of test/server.
func (b box) buildServer() {
	b.t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		b.t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(repo, "build", "test", "server"))
	if err != nil {
		b.t.Fatalf("%v; try: make examples", err)
	}
	dir := b.t.TempDir()
	for name, data := range map[string][]byte{"server": program, "Dockerfile": []byte("FROM scratch\nCOPY server /server\nENTRYPOINT [\"/server\"]\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	b.docker("build", "--quiet", "--tag", serverImage, dir)
}

// workload is a box with a namespace and, for templates, what servers in it need.
type workload struct {
	box
	Namespace, Image, Cert, Key, Policy string
}

func newWorkload(b box, namespace string) workload {
	b.t.Helper()
	w := workload{box: b, Namespace: namespace, Image: serverImage}
	w.Cert, w.Key = certificate(b.t, "server."+namespace+".svc")
	b.kubectl("create", "namespace", namespace)
	return w
}

// certificate is a self-signed one, and its key, as manifests have them.
func certificate(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, data []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", secret)
}

// manifest is testdata/workloads/NAME.yaml with the workload's values in it.
func (w workload) manifest(name string) string {
	w.t.Helper()
	text, err := template.ParseFiles(filepath.Join("testdata", "workloads", name+".yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := text.Execute(&out, w); err != nil {
		w.t.Fatal(err)
	}
	return out.String()
}

func (w workload) apply(name string) {
	w.t.Helper()
	w.must(w.stdin(w.manifest(name), "apply", "-f", "-"))
}

// k is kubectl in the workload's namespace, which must succeed.
func (w workload) k(args ...string) string {
	w.t.Helper()
	return w.kubectl(append([]string{"--namespace", w.Namespace}, args...)...)
}

// try is k with the error.
func (w workload) try(args ...string) (string, error) {
	return w.stdin("", args...)
}

// stdin is try with an input.
func (w workload) stdin(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	command := harness.Command{Name: w.Binary, Args: append([]string{"kubectl", "--namespace", w.Namespace}, args...), Stdin: strings.NewReader(input)}
	result, err := w.Exec(ctx, command)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("kubectl %s: exit code %d\n%s", strings.Join(args, " "), result.Code, result.Output())
	}
	return strings.TrimSpace(result.Stdout), err
}

// denied expects kubectl to fail with all of these words.
func (w workload) denied(err error, words ...string) {
	w.t.Helper()
	if err == nil {
		w.t.Errorf("it was allowed, where %q was expected", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.t.Errorf("the error lacks %q: %v", word, err)
		}
	}
}

// is expects a value from kubectl at once.
func (w workload) is(want string, args ...string) {
	w.t.Helper()
	if got := w.k(args...); got != want {
		w.t.Errorf("kubectl %s: %q, want %q", strings.Join(args, " "), got, want)
	}
}

// becomes polls for it.
func (w workload) becomes(limit time.Duration, want string, args ...string) {
	w.t.Helper()
	w.eventually(limit, fmt.Sprintf("kubectl %s is %q", strings.Join(args, " "), want), func() error {
		got, err := w.try(args...)
		if err == nil && got != want {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

// podReady waits for pods to be Ready; when it is not in time the events say why.
func (w workload) podReady(pods ...string) {
	w.t.Helper()
	if _, err := w.try(append([]string{"wait", "--for=condition=Ready", "--timeout=90s", "pod"}, pods...)...); err != nil {
		events, _ := w.try("get", "events", "--sort-by=.lastTimestamp")
		w.t.Fatalf("%v\n%s", err, events)
	}
}

func (w workload) object(into any, args ...string) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.k(append(args, "-o", "json")...)), into); err != nil {
		w.t.Fatal(err)
	}
}
