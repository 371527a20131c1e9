package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/internal/fault"
)

const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

func TestCheck(t *testing.T) {
	const wide = head + `omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: [system:apiserver]
  verbs: [get]
  resources: [{group: "", resources: [endpoints, services/status], resourceNames: [a]}, {group: "*"}]
  namespaces: [kube-system]
- level: None
  nonResourceURLs: [/healthz*, "*"]
- level: RequestResponse
  omitStages: [Panic]
  omitManagedFields: false
`
	for name, tt := range map[string]struct{ content, says, hint string }{
		"one rule":            {head + "rules: [{level: Metadata}]\n", "", ""},
		"everything":          {wide, "", ""},
		"JSON":                {`{"apiVersion":"audit.k8s.io/v1","kind":"Policy","metadata":{"name":"x"},"rules":[{"level":"Request"}]}`, "", ""},
		"empty":               {"", `"" for kind`, "Policy"},
		"not YAML":            {"rules: [", "is not a policy", ""},
		"another kind":        {"apiVersion: v1\nkind: Pod\n", `"Pod" for kind`, "Policy"},
		"an old version":      {"apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]\n", "v1beta1", "audit.k8s.io/v1"},
		"no rules":            {head, "no rules", "level: Metadata"},
		"a misspelt key":      {head + "rules: [{level: None, user: [a]}]\n", `"user"`, ""},
		"a misspelt level":    {head + "rules: [{level: None}, {level: metadata}]\n", `"metadata" for rules[1].level`, "Metadata, Request"},
		"no level":            {head + "rules: [{verbs: [get]}]\n", "rules[0].level", "None"},
		"an unknown stage":    {head + "omitStages: [Begin]\nrules: [{level: None}]\n", "omitStages[0]", "RequestReceived"},
		"a stage of a rule":   {head + "rules: [{level: None, omitStages: [Begin]}]\n", "rules[0].omitStages[0]", "Panic"},
		"both kinds":          {head + "rules: [{level: None, namespaces: [a], nonResourceURLs: [/a]}]\n", "nonResourceURLs and", "two rules"},
		"no path":             {head + "rules: [{level: None, nonResourceURLs: [a]}]\n", "nonResourceURLs[0]", "begins with /"},
		"a star within":       {head + "rules: [{level: None, nonResourceURLs: [/a*/b]}]\n", "/a*/b", "at its end"},
		"an empty path":       {head + "rules: [{level: None, nonResourceURLs: ['']}]\n", "nonResourceURLs[0]", "begins with /"},
		"a group and version": {head + "rules: [{level: None, resources: [{group: apps/v1}]}]\n", "apps/v1", "without a version"},
		"names alone":         {head + "rules: [{level: None, resources: [{resourceNames: [a]}]}]\n", "resourceNames without", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Check(file)
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f, ok := errors.AsType[*fault.Error](err)
			if !ok {
				t.Fatalf("not a fault: %v", err)
			}
			for _, part := range []string{"audit.policyFile", file, tt.says} {
				if !strings.Contains(f.Error(), part) {
					t.Errorf("%q lacks %q", f.Error(), part)
				}
			}
			if !strings.Contains(f.Hint, tt.hint) || f.Exit != fault.ExitUsage {
				t.Errorf("hint %q, exit %d", f.Hint, f.Exit)
			}
		})
	}
}

func TestCheckUnreadable(t *testing.T) {
	if err := Check(filepath.Join(t.TempDir(), "none.yaml")); fault.Code(err) != CodeInvalid || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
