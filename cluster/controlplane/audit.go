package controlplane

import (
	"fmt"
	"os"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

// auditArgs is empty while the audit log is off. Upstream makes the file with mode 0600, its directory with
// 0700, and keeps the mode when it rotates (k8s.io/apiserver/pkg/server/options/audit.go).
func auditArgs(c config.Cluster) []string {
	if !c.Audit.Enabled {
		return nil
	}
	return []string{
		"--audit-log-maxage=" + strconv.Itoa(c.Audit.MaxAgeDays),
		"--audit-log-maxbackup=" + strconv.Itoa(c.Audit.MaxBackups),
		"--audit-log-maxsize=" + strconv.Itoa(c.Audit.MaxSizeMB),
		"--audit-log-path=" + c.Audit.LogFile,
		"--audit-policy-file=" + auditPolicyFile(c),
	}
}

func auditPolicyFile(c config.Cluster) string {
	if c.Audit.PolicyFile != "" {
		return c.Audit.PolicyFile
	}
	return c.Run("audit-policy.yaml")
}

func writeAuditPolicy(c config.Cluster) error {
	if !c.Audit.Enabled || c.Audit.PolicyFile != "" {
		return nil
	}
	data, err := yaml.Marshal(auditPolicy())
	if err != nil {
		return err
	}
	if err := os.WriteFile(auditPolicyFile(c), data, 0o600); err != nil {
		return fmt.Errorf("write the audit policy: %w", err)
	}
	return nil
}

// auditPolicy records who did what to which object, and never what was in it. The first rule that fits counts.
// Left out is what nobody asks for: how the parts themselves look at the cluster, renew their leases and report
// events, and probes of health and discovery.
func auditPolicy() *auditv1.Policy {
	parts := auditv1.PolicyRule{
		Level: auditv1.LevelNone,
		Users: []string{
			"system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy",
			"boxyard:dns", "boxyard:controllers",
		},
	}
	// Controllers use service accounts of their own. A rule matches users and groups together, hence two.
	groups := auditv1.PolicyRule{Level: auditv1.LevelNone, UserGroups: []string{"system:nodes", "system:serviceaccounts:kube-system"}}
	noise := []auditv1.GroupResources{
		{Group: "coordination.k8s.io", Resources: []string{"leases"}},
		{Group: "", Resources: []string{"events"}},
		{Group: "events.k8s.io", Resources: []string{"events"}},
	}
	return &auditv1.Policy{
		TypeMeta:          metav1.TypeMeta{Kind: "Policy", APIVersion: auditv1.SchemeGroupVersion.String()},
		OmitStages:        []auditv1.Stage{auditv1.StageRequestReceived},
		OmitManagedFields: true,
		Rules: []auditv1.PolicyRule{
			{
				Level: auditv1.LevelNone, Verbs: []string{"get"},
				NonResourceURLs: []string{"/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*", "/api", "/api/*", "/apis", "/apis/*"},
			},
			// Also when a part reads them.
			{Level: auditv1.LevelMetadata, Resources: []auditv1.GroupResources{
				{Group: "", Resources: []string{"secrets", "configmaps", "serviceaccounts/token"}},
				{Group: "authentication.k8s.io", Resources: []string{"tokenreviews"}},
			}},
			with(parts, func(r *auditv1.PolicyRule) { r.Resources = noise }),
			with(groups, func(r *auditv1.PolicyRule) { r.Resources = noise }),
			with(parts, func(r *auditv1.PolicyRule) { r.Verbs = []string{"get", "list", "watch"} }),
			with(groups, func(r *auditv1.PolicyRule) { r.Verbs = []string{"get", "list", "watch"} }),
			{Level: auditv1.LevelMetadata},
		},
	}
}

func with(r auditv1.PolicyRule, change func(*auditv1.PolicyRule)) auditv1.PolicyRule {
	change(&r)
	return r
}
