package bootstrap

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// served registers the group of the resource metrics, which makes discovery list it. It has no service: the API
// server itself serves it, so it is available as long as the API is.
func served(ctx context.Context, services apiregistration.APIServicesGetter) error {
	return ensureObject(ctx, services.APIServices(), metricsService(), sameAPIService)
}

func sameAPIService(have, want *apiregistrationv1.APIService) bool {
	return assign(&have.Spec, want.Spec)
}

func metricsService() *apiregistrationv1.APIService {
	return &apiregistrationv1.APIService{
		ObjectMeta: named(v1beta1.SchemeGroupVersion.Version + "." + metrics.GroupName),
		Spec: apiregistrationv1.APIServiceSpec{
			Group: metrics.GroupName, Version: v1beta1.SchemeGroupVersion.Version,
			GroupPriorityMinimum: 100, VersionPriority: 100,
		},
	}
}

// metricsReader lets those who may view things also see what they use, as metrics-server's own manifest does and
// under the same name.
func metricsReader() *rbacv1.ClusterRole {
	meta := named("system:aggregated-metrics-reader")
	for _, role := range []string{"view", "edit", "admin"} {
		meta.Labels["rbac.authorization.k8s.io/aggregate-to-"+role] = "true"
	}
	return &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{metrics.GroupName}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list"}},
	}}
}
