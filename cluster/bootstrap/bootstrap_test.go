package bootstrap

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorfake "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/golden"
	"github.com/boxyard/boxyard/cluster/storage"
)

const root = "../.."

func TestObjectsAreGolden(t *testing.T) {
	c := golden.Cluster(t, root)
	objects := []any{dnsServiceObject(c)}
	for _, o := range dnsEndpointSlices(c) {
		objects = append(objects, o)
	}
	for _, class := range storage.Classes() {
		objects = append(objects, class)
	}
	objects = append(objects, metricsService())
	for _, o := range clusterRoles() {
		objects = append(objects, o)
	}
	for _, o := range clusterRoleBindings() {
		objects = append(objects, o)
	}
	all := ""
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		all += "---\n" + string(data)
	}
	golden.Equal(t, "objects.yaml", all)
}

func TestOursWritesOnlyOnce(t *testing.T) {
	c, client := golden.Cluster(t, root), fake.NewClientset()
	for range 2 {
		if err := ours(t.Context(), client, c); err != nil {
			t.Fatal(err)
		}
	}
	writes := map[string]int{}
	for _, a := range client.Actions() {
		if a.GetVerb() != "get" {
			writes[a.GetVerb()]++
		}
	}
	// Three roles, three bindings, two priority and two storage classes, a Service and its slice, a ServiceAccount.
	if writes["create"] != 13 || len(writes) != 1 {
		t.Errorf("writes: %v", writes)
	}
}

func TestServedTakesTheMetricsBack(t *testing.T) {
	others := metricsService()
	others.Spec.Service = &apiregistrationv1.ServiceReference{Namespace: "kube-system", Name: "metrics-server"}
	client := aggregatorfake.NewSimpleClientset(others)
	for range 2 {
		if err := served(t.Context(), client.ApiregistrationV1()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := client.ApiregistrationV1().APIServices().Get(t.Context(), "v1beta1.metrics.k8s.io", metav1.GetOptions{})
	if err != nil || got.Spec.Service != nil {
		t.Errorf("API service: %+v, %v", got, err)
	}
}

func TestOursKeepsWhatUsersMadeOfAStorageClass(t *testing.T) {
	c, class := golden.Cluster(t, root), storage.Classes()[0]
	class.Annotations = nil // another one is the default
	client := fake.NewClientset(class)
	if err := ours(t.Context(), client, c); err != nil {
		t.Fatal(err)
	}
	got, err := client.StorageV1().StorageClasses().Get(t.Context(), class.Name, metav1.GetOptions{})
	if err != nil || len(got.Annotations) != 0 {
		t.Errorf("class: %+v, %v", got, err)
	}
}

func TestOursTakesBackWhatIsOurs(t *testing.T) {
	c, client := golden.Cluster(t, root), fake.NewClientset()
	service := dnsServiceObject(c)
	service.Labels["of"] = "others"
	service.Spec.Selector = map[string]string{"k8s-app": "kube-dns"}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "boxyard:dns"}}
	for _, err := range []error{client.Tracker().Add(service), client.Tracker().Add(role)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := ours(t.Context(), client, c); err != nil {
		t.Fatal(err)
	}
	got := dnsServiceOf(t, client)
	if len(got.Spec.Selector) != 0 || got.Labels["of"] != "others" {
		t.Errorf("service: %+v", got)
	}
	fixed, err := client.RbacV1().ClusterRoles().Get(t.Context(), "boxyard:dns", metav1.GetOptions{})
	if err != nil || len(fixed.Rules) == 0 || fixed.Labels[ourLabel] != ourName {
		t.Errorf("role: %+v, %v", fixed, err)
	}
}

func TestOursMovesTheServiceToAnotherAddress(t *testing.T) {
	c, client := golden.Cluster(t, root), fake.NewClientset()
	old := c
	old.ClusterDNS = []string{"10.99.0.10"}
	if err := client.Tracker().Add(dnsServiceObject(old)); err != nil {
		t.Fatal(err)
	}
	if err := ours(t.Context(), client, c); err != nil {
		t.Fatal(err)
	}
	if got := dnsServiceOf(t, client); got.Spec.ClusterIP != "10.43.0.10" {
		t.Errorf("address: %s", got.Spec.ClusterIP)
	}
}

func TestRolesAreUpstreams(t *testing.T) {
	client := fake.NewClientset()
	for range 2 { // the second time they are there
		if err := Roles(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cluster-admin", "system:node-proxier", "system:controller:node-controller"} {
		if _, err := client.RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.RbacV1().Roles("kube-system").Get(t.Context(), "extension-apiserver-authentication-reader", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func dnsServiceOf(t *testing.T, client *fake.Clientset) *corev1.Service {
	t.Helper()
	service, err := client.CoreV1().Services(dnsNamespace).Get(t.Context(), dnsService, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}
