package audit

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/internal/fault"
)

// CodeInvalid is the code of every error about a policy.
const CodeInvalid = "audit-policy"

const (
	key     = "audit.policyFile"
	kind    = "Policy"
	version = "audit.k8s.io/v1"
)

// policy is audit.k8s.io/v1 Policy (k8s.io/apiserver/pkg/apis/audit/v1/types.go; importing it would bring the
// whole API server along).
type policy struct {
	APIVersion        string         `json:"apiVersion"`
	Kind              string         `json:"kind"`
	Metadata          map[string]any `json:"metadata"`
	Rules             []rule         `json:"rules"`
	OmitStages        []string       `json:"omitStages"`
	OmitManagedFields bool           `json:"omitManagedFields"`
}

type rule struct {
	Level             string      `json:"level"`
	Users             []string    `json:"users"`
	UserGroups        []string    `json:"userGroups"`
	Verbs             []string    `json:"verbs"`
	Resources         []resources `json:"resources"`
	Namespaces        []string    `json:"namespaces"`
	NonResourceURLs   []string    `json:"nonResourceURLs"`
	OmitStages        []string    `json:"omitStages"`
	OmitManagedFields *bool       `json:"omitManagedFields"`
}

type resources struct {
	Group         string   `json:"group"`
	Resources     []string `json:"resources"`
	ResourceNames []string `json:"resourceNames"`
}

func levels() []string { return []string{"None", "Metadata", "Request", "RequestResponse"} }

func stages() []string {
	return []string{"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"}
}

// Check is a *fault.Error that names the key, the file, the place in it and what is allowed there.
func Check(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return invalid(file, "cannot be read", "make it a readable file, or remove "+key+" to use the built-in policy", err)
	}
	var p policy
	// Strict, where upstream only warns: a misspelt key makes a rule match more than was meant.
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		return invalid(file, "is not a policy", "see https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/", err)
	}
	return p.check(file)
}

func (p policy) check(file string) error {
	switch {
	case p.Kind != kind:
		return notAllowed(file, "kind", p.Kind, kind)
	case p.APIVersion != version:
		return notAllowed(file, "apiVersion", p.APIVersion, version)
	case len(p.Rules) == 0:
		return invalid(file, "has no rules, and would record nothing", "add one, such as: rules: [{level: Metadata}]", nil)
	}
	if err := checkStages(file, "omitStages", p.OmitStages); err != nil {
		return err
	}
	for i, r := range p.Rules {
		if err := r.check(file, fmt.Sprintf("rules[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (r rule) check(file, place string) error {
	if !slices.Contains(levels(), r.Level) {
		return notAllowed(file, place+".level", r.Level, strings.Join(levels(), ", "))
	}
	if err := checkStages(file, place+".omitStages", r.OmitStages); err != nil {
		return err
	}
	if len(r.NonResourceURLs) > 0 && (len(r.Resources) > 0 || len(r.Namespaces) > 0) {
		return invalid(file, place+" has nonResourceURLs and resources or namespaces", "make two rules of it", nil)
	}
	for i, url := range r.NonResourceURLs {
		if url != "*" && (!strings.HasPrefix(url, "/") || strings.Contains(url[:len(url)-1], "*")) {
			return notAllowed(file, fmt.Sprintf("%s.nonResourceURLs[%d]", place, i), url, "a path that begins with / and has * at its end only, or *")
		}
	}
	for i, list := range r.Resources {
		place := fmt.Sprintf("%s.resources[%d]", place, i)
		if strings.Contains(list.Group, "/") {
			return notAllowed(file, place+".group", list.Group, "the group without a version, such as apps")
		}
		if len(list.ResourceNames) > 0 && len(list.Resources) == 0 {
			return invalid(file, place+" has resourceNames without resources", "name the resources too", nil)
		}
	}
	return nil
}

func checkStages(file, place string, list []string) error {
	for i, s := range list {
		if !slices.Contains(stages(), s) {
			return notAllowed(file, fmt.Sprintf("%s[%d]", place, i), s, strings.Join(stages(), ", "))
		}
	}
	return nil
}

func notAllowed(file, place, value, allowed string) error {
	return invalid(file, fmt.Sprintf("has %q for %s", value, place), "allowed: "+allowed, nil)
}

func invalid(file, what, hint string, cause error) error {
	return &fault.Error{
		Code: CodeInvalid, Summary: key + ": " + file + " " + what, Hint: hint, Exit: fault.ExitUsage, Cause: cause,
	}
}
