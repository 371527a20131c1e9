package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// atOnce is how many objects are written together: etcd puts what comes together on disk together.
const atOnce = 8

// proxier is the role of kube-proxy, and its binding.
const proxier = "system:node-proxier"

// Roles makes the roles that Kubernetes itself needs, and reconciles them as upstream does: it is the hook
// rbac/bootstrap-roles of kube-apiserver (pkg/registry/rbac/rest/storage_rbac.go), which waits for a second
// before it starts and then writes one object after the other. Left out is what the hook does for clusters
// older than Kubernetes 1.9. What kube-proxy needs comes first, as its start takes longest.
func Roles(ctx context.Context, client kubernetes.Interface) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, run := range reconcilers(client) {
		group.Go(func() error { return again(ctx, run) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("reconcile the roles of Kubernetes: %w", err)
	}
	return nil
}

// again repeats what has met another writer.
func again(ctx context.Context, run func() error) error {
	for {
		err := run()
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

func reconcilers(client kubernetes.Interface) []func() error {
	var first, others []func() error
	add := func(name string, run func() error) {
		if name == proxier {
			first = append(first, run)
		} else {
			others = append(others, run)
		}
	}
	role := func(owner reconciliation.RuleOwner, modifier reconciliation.RuleOwnerModifier) {
		add(owner.GetName(), func() error {
			_, err := (&reconciliation.ReconcileRoleOptions{Role: owner, Client: modifier, Confirm: true}).Run()
			return err
		})
	}
	binding := func(owner reconciliation.RoleBinding, modifier reconciliation.RoleBindingModifier) {
		add(owner.GetName(), func() error {
			_, err := (&reconciliation.ReconcileRoleBindingOptions{RoleBinding: owner, Client: modifier, Confirm: true}).Run()
			return err
		})
	}
	rbac, namespaces := client.RbacV1(), client.CoreV1().Namespaces()
	for _, r := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		role(reconciliation.ClusterRoleRuleOwner{ClusterRole: &r}, reconciliation.ClusterRoleModifier{Client: rbac.ClusterRoles()})
	}
	for _, b := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		binding(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &b},
			reconciliation.ClusterRoleBindingClientAdapter{Client: rbac.ClusterRoleBindings()})
	}
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		for _, r := range roles {
			role(reconciliation.RoleRuleOwner{Role: &r}, reconciliation.RoleModifier{Client: rbac, NamespaceClient: namespaces})
		}
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, b := range bindings {
			binding(reconciliation.RoleBindingAdapter{RoleBinding: &b},
				reconciliation.RoleBindingClientAdapter{Client: rbac, NamespaceClient: namespaces})
		}
	}
	return append(first, others...)
}
