package metrics

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-openapi/pkg/validation/spec"
	v1 "k8s.io/metrics/pkg/apis/metrics/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/metrics-server/pkg/api"
	"sigs.k8s.io/metrics-server/pkg/storage"
)

// Metrics keeps the last two measurements of each node and container.
type Metrics struct {
	store storage.Storage
	nodes corelisters.NodeLister
}

// New returns one that has measured nothing.
func New() *Metrics { return &Metrics{store: storage.NewStorage(resolution)} }

// Describe makes the types of the API known to the server's OpenAPI documents, which have their schemas but not
// their kinds: `kubectl explain podmetrics` looks for these. It is called before the server is made.
func Describe(config *genericapiserver.Config) {
	ours := openapinamer.NewDefinitionNamer(api.Scheme)
	config.OpenAPIConfig.GetDefinitionName = named(ours, config.OpenAPIConfig.GetDefinitionName)
	config.OpenAPIV3Config.GetDefinitionName = named(ours, config.OpenAPIV3Config.GetDefinitionName)
}

type nameFunc = func(name string) (string, spec.Extensions)

func named(ours *openapinamer.DefinitionNamer, others nameFunc) nameFunc {
	return func(name string) (string, spec.Extensions) {
		if strings.HasPrefix(name, "io.k8s.metrics.pkg.apis.metrics.") {
			return ours.GetDefinitionName(name)
		}
		return others(name)
	}
}

// Install adds the API to the server, before that is prepared to run. The pods and nodes that are asked for come
// from the API server's own watches: its Node authorizer has them anyway.
func (m *Metrics) Install(server *genericapiserver.GenericAPIServer, watched informers.SharedInformerFactory) error {
	if err := preferServed(); err != nil {
		return fmt.Errorf("install the resource metrics API: %w", err)
	}
	core := watched.Core().V1()
	m.nodes = core.Nodes().Lister()
	if err := api.Install(m.store, runningPods{core.Pods().Lister()}, m.nodes, server, nil); err != nil {
		return fmt.Errorf("install the resource metrics API: %w", err)
	}
	return nil
}

// preferServed makes the version that metrics-server serves the one that discovery names first. The types have a
// v1 as well, and name that first (k8s.io/metrics/pkg/apis/metrics/install): clients would ask for what is not there.
func preferServed() error {
	return api.Scheme.SetVersionPriority(v1beta1.SchemeGroupVersion, v1.SchemeGroupVersion)
}

// runningPods lists the pods that run, as the metadata that metrics-server asks for.
type runningPods struct{ pods corelisters.PodLister }

var _ cache.GenericLister = runningPods{}

func (r runningPods) List(selector labels.Selector) ([]runtime.Object, error) {
	return r.ByNamespace(metav1.NamespaceAll).List(selector)
}

func (r runningPods) Get(key string) (runtime.Object, error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil, err
	}
	return r.ByNamespace(namespace).Get(name)
}

func (r runningPods) ByNamespace(namespace string) cache.GenericNamespaceLister {
	return runningPodsOf{r.pods.Pods(namespace)}
}

type runningPodsOf struct {
	pods corelisters.PodNamespaceLister
}

func (r runningPodsOf) List(selector labels.Selector) ([]runtime.Object, error) {
	pods, err := r.pods.List(selector)
	if err != nil {
		return nil, err
	}
	running := make([]runtime.Object, 0, len(pods))
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodRunning {
			running = append(running, metadata(pod))
		}
	}
	return running, nil
}

func (r runningPodsOf) Get(name string) (runtime.Object, error) {
	pod, err := r.pods.Get(name)
	if err != nil {
		return nil, err
	}
	if pod.Status.Phase != corev1.PodRunning {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	return metadata(pod), nil
}

// metadata shares what the pod has: it is only read.
func metadata(pod *corev1.Pod) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: pod.ObjectMeta}
}
