package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	schedulingapi "k8s.io/kubernetes/pkg/apis/scheduling/v1"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/storage"
)

// Run makes our objects, and tries again while the API is still starting: kube-system and the service ranges
// are themselves made by the API server's hooks. failed is called with each failure; the error is that of ctx.
func Run(ctx context.Context, client kubernetes.Interface, services apiregistration.APIServicesGetter, c config.Cluster, failed func(error)) error {
	return until(ctx, func() error { return errors.Join(ours(ctx, client, c), served(ctx, services)) }, failed)
}

// UntilRoles is Roles, tried again like Run.
func UntilRoles(ctx context.Context, client kubernetes.Interface, failed func(error)) error {
	return until(ctx, func() error { return Roles(ctx, client) }, failed)
}

func until(ctx context.Context, run func() error, failed func(error)) error {
	for {
		err := run()
		if err == nil {
			return nil
		}
		failed(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// ours begins with the rights of the dns, which waits for them.
func ours(ctx context.Context, client kubernetes.Interface, c config.Cluster) error {
	var errs []error
	for _, role := range clusterRoles() {
		errs = append(errs, ensureObject(ctx, client.RbacV1().ClusterRoles(), role, sameRole))
	}
	for _, binding := range clusterRoleBindings() {
		errs = append(errs, ensureObject(ctx, client.RbacV1().ClusterRoleBindings(), binding, sameBinding))
	}
	for _, class := range schedulingapi.SystemPriorityClasses() {
		// It cannot be changed (pkg/apis/scheduling/validation).
		errs = append(errs, ensureObject(ctx, client.SchedulingV1().PriorityClasses(), class, anyVersion))
	}
	for _, class := range storage.Classes() {
		// What users made of it stays: another one may be the default now.
		errs = append(errs, ensureObject(ctx, client.StorageV1().StorageClasses(), class, anyVersion))
	}
	services := client.CoreV1().Services(dnsNamespace)
	errs = append(errs, replaceAddress(ctx, client, c), ensureObject(ctx, services, dnsServiceObject(c), sameService))
	for _, slice := range dnsEndpointSlices(c) {
		errs = append(errs, ensureObject(ctx, client.DiscoveryV1().EndpointSlices(dnsNamespace), slice, sameSlice))
	}
	accounts := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault)
	errs = append(errs, ensureObject(ctx, accounts, defaultAccount(), anyVersion))
	return errors.Join(errs...)
}

// object is a pointer to an API type.
type object interface{ metav1.Object }

// store is the part of a typed client that ensureObject needs.
type store[T object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Create(ctx context.Context, object T, o metav1.CreateOptions) (T, error)
	Update(ctx context.Context, object T, o metav1.UpdateOptions) (T, error)
}

// ensureObject creates the object or, where it differs in what we own, updates it. merge copies into the
// stored object what we own and says whether that changed it.
func ensureObject[T object](ctx context.Context, s store[T], want T, merge func(have, want T) bool) error {
	have, err := s.Get(ctx, want.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if _, err = s.Create(ctx, want, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create %s: %w", want.GetName(), err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", want.GetName(), err)
	}
	changed := mergeLabels(have, want)
	if changed = merge(have, want) || changed; !changed {
		return nil
	}
	if _, err := s.Update(ctx, have, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update %s: %w", want.GetName(), err)
	}
	return nil
}

// mergeLabels keeps labels that others have added.
func mergeLabels(have, want metav1.Object) bool {
	labels := maps.Clone(have.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, want.GetLabels())
	if maps.Equal(labels, have.GetLabels()) {
		return false
	}
	have.SetLabels(labels)
	return true
}

func sameRole(have, want *rbacv1.ClusterRole) bool { return assign(&have.Rules, want.Rules) }

func sameBinding(have, want *rbacv1.ClusterRoleBinding) bool {
	return assign(&have.Subjects, want.Subjects)
}

// anyVersion leaves an object as it is, once it is there.
func anyVersion[T object](_, _ T) bool { return false }

func sameService(have, want *corev1.Service) bool {
	changed := false
	if len(have.Spec.Selector) > 0 {
		have.Spec.Selector, changed = nil, true
	}
	return assign(&have.Spec.Ports, want.Spec.Ports) || changed
}

func sameSlice(have, want *discoveryv1.EndpointSlice) bool {
	changed := assign(&have.Endpoints, want.Endpoints)
	return assign(&have.Ports, want.Ports) || changed
}

func assign[T any](have *T, want T) bool {
	if equality.Semantic.DeepEqual(*have, want) {
		return false
	}
	*have = want
	return true
}

// replaceAddress removes the Service when its address is not ours any more: the address of a Service
// cannot be changed.
func replaceAddress(ctx context.Context, client kubernetes.Interface, c config.Cluster) error {
	service, err := client.CoreV1().Services(dnsNamespace).Get(ctx, dnsService, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", dnsService, err)
	}
	if equality.Semantic.DeepEqual(service.Spec.ClusterIPs, c.ClusterDNS) {
		return nil
	}
	if err := client.CoreV1().Services(dnsNamespace).Delete(ctx, dnsService, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", dnsService, err)
	}
	return nil
}
