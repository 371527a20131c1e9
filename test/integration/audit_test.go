//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

const auditOn = "audit:\n  enabled: true\n"

// event is as much of audit.k8s.io/v1 Event as is looked at.
type event struct {
	Level          string          `json:"level"`
	Stage          string          `json:"stage"`
	Verb           string          `json:"verb"`
	RequestURI     string          `json:"requestURI"`
	RequestObject  json.RawMessage `json:"requestObject"`
	ResponseObject json.RawMessage `json:"responseObject"`
	User           struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource, Subresource, Name string
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// TestAudit switches the audit log on, with the built-in policy, with one of the user's, and with faulty ones.
func TestAudit(t *testing.T) {
	b := newBox(t, harness.Options{Config: auditOn + "  maxSizeMB: 1\n  maxBackups: 1\n"})
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"built-in policy", auditBuiltIn},
		{"documents", auditDocument},
		{"rotation", auditRotation},
		{"a policy of the user's", auditOwnPolicy},
		{"a policy that only Kubernetes refuses", auditRefusedLate},
		{"faulty policies", auditRefused},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

func (b box) auditFile() string { return b.LogPath("boxyard", "audit", "audit.log") }

// audited reads the log.
func (b box) audited() []event {
	b.t.Helper()
	data, err := os.ReadFile(b.auditFile())
	if err != nil {
		b.t.Fatal(err)
	}
	var events []event
	for line := range bytes.Lines(data) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			b.t.Fatalf("%v in %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// finds expects an event about an object.
func (b box) finds(verb, resource, name string) event {
	b.t.Helper()
	for _, e := range b.audited() {
		if e.Verb == verb && path.Join(e.ObjectRef.Resource, e.ObjectRef.Subresource) == resource && e.ObjectRef.Name == name {
			return e
		}
	}
	b.t.Errorf("no event: %s %s %s", verb, resource, name)
	return event{}
}

func auditBuiltIn(b box) {
	const hidden = "in-an-audited-secret"
	b.kubectl("create", "secret", "generic", "hidden", "--from-literal=key="+hidden)
	b.kubectl("get", "secret", "hidden", "-o", "yaml")
	b.kubectl("create", "configmap", "plain", "--from-literal=key="+hidden)
	b.kubectl("create", "deployment", "watched", "--image=boxyard/base", "--replicas=0")
	b.kubectl("create", "token", "default")
	for _, want := range [][3]string{
		{"create", "secrets", "hidden"}, {"get", "secrets", "hidden"}, {"create", "configmaps", "plain"}, {"create", "deployments", "watched"}, {"create", "serviceaccounts/token", "default"},
	} {
		e := b.finds(want[0], want[1], want[2])
		if e.User.Username != "boxyard:admin" || e.Level != "Metadata" || e.ResponseStatus.Code < 200 || e.ResponseStatus.Code > 299 {
			b.t.Errorf("%v: %+v", want, e)
		}
	}
	for _, e := range b.audited() {
		if e.RequestObject != nil || e.ResponseObject != nil || e.Level != "Metadata" {
			b.t.Errorf("a body is recorded: %+v", e)
		}
		if strings.HasPrefix(e.RequestURI, "/livez") || e.ObjectRef.Resource == "leases" && strings.HasPrefix(e.User.Username, "system:") {
			b.t.Errorf("noise is recorded: %+v", e)
		}
	}
	data, err := os.ReadFile(b.auditFile())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, text := range []string{hidden, base64.StdEncoding.EncodeToString([]byte(hidden))} {
		if bytes.Contains(data, []byte(text)) {
			b.t.Errorf("the log has %q in it", text)
		}
	}
	if modes := b.sh("stat -c '%a %U' /var/log/boxyard/audit /var/log/boxyard/audit/audit.log"); modes != "700 root\n600 root" {
		b.t.Errorf("modes: %q", modes)
	}
}

// auditDocument runs what docs/kubernetes.md says about a log that is on.
func auditDocument(b box) {
	script := fenced(b, filepath.Join("..", "..", "docs", "kubernetes.md"), "```sh audit")
	if script == "" {
		b.t.Fatal("docs/kubernetes.md has no commands about the audit log")
	}
	b.sh("set -ex; export PATH=$PATH:/var/lib/boxyard/bin:" + filepath.Dir(b.Binary) + "\n" + strings.ReplaceAll(script, "sudo ", ""))
}

// fenced are the lines of a document between fences of one kind.
func fenced(b box, file, fence string) string {
	b.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	var script strings.Builder
	inside := false
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside && strings.TrimSpace(line) == fence
		case inside:
			script.WriteString(line)
		}
	}
	return script.String()
}

func auditRotation(b box) {
	api, err := b.API(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for range 8000 { // an event has about 700 bytes
		if _, _, err := api.Do(ctx, "GET", "/api/v1/namespaces/default/configmaps/none", nil); err != nil {
			b.t.Fatal(err)
		}
		if files, err := filepath.Glob(b.LogPath("boxyard", "audit", "audit-*.log")); err != nil || len(files) > 0 {
			break
		}
	}
	if modes := b.sh("stat -c %a /var/log/boxyard/audit/*"); modes != "600\n600" {
		b.t.Errorf("after 8000 requests, the modes of the files: %q, want two of 600", modes)
	}
}

const policyHead = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

// policy writes one and configures it.
func (b box) policy(rules string) {
	b.t.Helper()
	b.sh("cat > /etc/boxyard/policy.yaml <<'E'\n" + policyHead + rules + "\nE")
	if err := b.SetConfig(auditOn + "  policyFile: /etc/boxyard/policy.yaml\n"); err != nil {
		b.t.Fatal(err)
	}
}

func auditOwnPolicy(b box) {
	b.boxyard("down")
	b.policy("rules:\n- level: RequestResponse\n  resources: [{group: '', resources: [configmaps]}]\n- level: None")
	b.up()
	b.kubectl("create", "configmap", "told", "--from-literal=key=in-a-configmap")
	if e := b.finds("create", "configmaps", "told"); e.Level != "RequestResponse" || !bytes.Contains(e.RequestObject, []byte("in-a-configmap")) {
		b.t.Errorf("%+v", e)
	}
}

// auditRefusedLate: group names are looked at by kube-apiserver only. Its sentence reaches `status`.
func auditRefusedLate(b box) {
	b.boxyard("down")
	b.policy("rules: [{level: None, resources: [{group: Apps}]}]")
	b.up("--no-wait")
	b.eventually(30*time.Second, "status says what is wrong with the policy", func() error {
		status, err := b.Status(b.t.Context())
		if err != nil {
			return err
		}
		for _, part := range status.Components {
			if part.Name == "cluster" && strings.Contains(part.LastError, `"Apps"`) && strings.Contains(part.LastError, "policy.yaml") {
				return nil
			}
		}
		return fmt.Errorf("%+v", status.Components)
	})
	b.boxyard("down")
}

// auditRefused: nothing starts, and it is said which key of which file is wrong.
func auditRefused(b box) {
	for _, faulty := range []struct {
		rules string
		words []string
	}{
		{"rules: [{level: metadata}]", []string{"audit.policyFile", "/etc/boxyard/policy.yaml", `"metadata" for rules[0].level`, "RequestResponse"}},
		{"rules: [{levels: None}]", []string{"audit.policyFile", "levels"}},
		{"rules: []", []string{"audit.policyFile", "no rules"}},
	} {
		b.policy(faulty.rules)
		b.upFails(2, faulty.words...)
	}
	b.sh("rm /etc/boxyard/policy.yaml")
	b.upFails(2, "audit.policyFile", "/etc/boxyard/policy.yaml", "no such file")
	if err := b.SetConfig(auditOn + "  policyFile: policy.yaml\n"); err != nil {
		b.t.Fatal(err)
	}
	b.upFails(2, "audit.policyFile", "absolute path")
}
