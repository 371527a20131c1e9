//go:build integration

package integration

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/test/harness"
)

// TestHelm is the life of a release, of a chart in a directory and of the same chart in an OCI registry.
func TestHelm(t *testing.T) {
	b := newBox(t, harness.Options{})
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	chart := filepath.Join(repo, "examples", "chart")
	b.up()
	t.Run("a chart in a directory", func(t *testing.T) { release(box{Instance: b.Instance, t: t}, chart) })
	t.Run("a chart in a registry", func(t *testing.T) { registryChart(box{Instance: b.Instance, t: t}, chart) })
}

func (b box) helm(args ...string) string {
	b.t.Helper()
	return b.boxyard(append([]string{"helm"}, args...)...)
}

// history is the state of each revision of a release, the first one first.
func (b box) history(name string) []string {
	b.t.Helper()
	var revisions []struct{ Status string }
	if err := json.Unmarshal([]byte(b.helm("history", name, "--output", "json")), &revisions); err != nil {
		b.t.Fatal(err)
	}
	var states []string
	for _, r := range revisions {
		states = append(states, r.Status)
	}
	return states
}

// release installs, upgrades, rolls back and uninstalls. from is the chart and what is needed to get it.
func release(b box, from ...string) {
	const first, second = "Hello from a chart", "Hello again"
	shows := func(text string) {
		b.t.Helper()
		b.opens("http://page.default.localhost/", text)
		if out := b.helm("test", "page", "--timeout", "60s"); !strings.Contains(out, "Succeeded") {
			b.t.Errorf("helm test:\n%s", out)
		}
	}
	b.helm(append([]string{"install", "page", "--wait", "--timeout", "60s"}, from...)...)
	shows(first)
	b.helm(append([]string{"upgrade", "page", "--wait", "--timeout", "60s", "--set", "message=" + second, "--set", "replicas=2"}, from...)...)
	shows(second)
	if pods := strings.Fields(b.kubectl("get", "pods", "-l", "app.kubernetes.io/instance=page", "--field-selector=status.phase=Running", "-o", "name")); len(pods) < 2 {
		b.t.Errorf("after the upgrade: pods %v", pods)
	}
	b.helm("rollback", "page", "1", "--wait", "--timeout", "60s")
	shows(first)
	if got := strings.Join(b.history("page"), " "); got != "superseded superseded deployed" {
		b.t.Errorf("history: %s", got)
	}
	// A test that must fail, fails.
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: append([]string{"helm", "upgrade", "page", "--wait", "--timeout", "5s", "--set", "image=nowhere.invalid/none:1"}, from...)})
	if err != nil || result.Code == 0 {
		b.t.Errorf("an upgrade to an image that is nowhere: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	b.opens("http://page.default.localhost/", first) // the old pod goes on
	b.helm("uninstall", "page", "--wait", "--timeout", "60s")
	if left := b.kubectl("get", "deployments,services,configmaps,secrets", "-l", "app.kubernetes.io/instance=page", "-o", "name"); left != "" {
		b.t.Errorf("after uninstall: %s", left)
	}
	if list := b.helm("list", "--all-namespaces", "--short"); list != "" {
		b.t.Errorf("releases after uninstall: %s", list)
	}
	b.says(404, []string{"There is no page.default.localhost"}, "http://page.default.localhost/")
}

// registryChart pushes the chart to a registry inside the instance, and takes it from there.
func registryChart(b box, chart string) {
	const address = "127.0.0.1:5000"
	b.startRegistryWith("http", address)
	dir := b.t.TempDir()
	b.helm("package", chart, "--destination", dir)
	b.helm("push", filepath.Join(dir, "page-0.1.0.tgz"), "oci://"+address+"/charts", "--plain-http")
	reference := "oci://" + address + "/charts/page"
	if shown := b.helm("show", "chart", reference, "--plain-http"); !strings.Contains(shown, "version: 0.1.0") {
		b.t.Errorf("helm show chart:\n%s", shown)
	}
	b.helm("pull", reference, "--version", "0.1.0", "--plain-http", "--destination", b.t.TempDir())
	release(b, reference, "--version", "0.1.0", "--plain-http")
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"helm", "install", "none", "oci://" + address + "/charts/none", "--plain-http"}})
	if err != nil || result.Code == 0 {
		b.t.Errorf("a chart that is not there: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
}
