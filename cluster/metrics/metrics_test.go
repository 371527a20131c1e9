package metrics

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	genericapiserver "k8s.io/apiserver/pkg/server"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/metrics-server/pkg/api"
	"sigs.k8s.io/metrics-server/pkg/storage"
)

func indexer(t *testing.T, objects ...any) cache.Indexer {
	t.Helper()
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for _, o := range objects {
		if err := store.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func node(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func pod(namespace, name string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

// kubelet measures every ten seconds and says what it measured last.
type kubelet struct {
	began time.Time
	asked []time.Duration
	away  func(since time.Duration) bool
}

func (k *kubelet) Scrape(context.Context) *storage.MetricsBatch {
	since := time.Since(k.began)
	k.asked = append(k.asked, since)
	batch := &storage.MetricsBatch{Nodes: map[string]storage.MetricsPoint{}, Pods: map[types.NamespacedName]storage.PodMetricsPoint{}}
	if k.away != nil && k.away(since) {
		return batch
	}
	measured := since.Truncate(10 * time.Second)
	batch.Nodes["laptop"] = storage.MetricsPoint{
		Timestamp:         k.began.Add(measured),
		CumulativeCPUUsed: uint64(time.Hour + measured/2), // half a core
		MemoryUsage:       1 << 30,
	}
	return batch
}

func TestPreferredVersionIsServed(t *testing.T) {
	if err := preferServed(); err != nil {
		t.Fatal(err)
	}
	info := api.Build(nil, nil)
	if preferred := info.PrioritizedVersions[0].Version; info.VersionedResourcesStorageMap[preferred] == nil {
		t.Errorf("discovery prefers %s, which is not served", preferred)
	}
}

func TestCollectAsksOftenUntilItCanAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		m.nodes = corelisters.NewNodeLister(indexer(t, node("laptop")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k := &kubelet{began: time.Now()}
		m.collect(ctx, k)
		want := []time.Duration{0, 3, 6, 9, 12, 27, 42, 57}
		for i := range want {
			want[i] *= time.Second
		}
		if d := cmp.Diff(want, k.asked); d != "" {
			t.Errorf("asked at (-want +got):\n%s", d)
		}
		usage, err := m.store.GetNodeMetrics(node("laptop"))
		if err != nil || len(usage) != 1 {
			t.Fatalf("usage: %v, %v", usage, err)
		}
		if cpu := usage[0].Usage.Cpu().MilliValue(); cpu != 500 {
			t.Errorf("CPU: %dm", cpu)
		}
	})
}

func TestCollectRecoversFromAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		m.nodes = corelisters.NewNodeLister(indexer(t, node("laptop")))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		k := &kubelet{began: time.Now(), away: func(since time.Duration) bool { return since > time.Minute && since < 5*time.Minute }}
		go m.collect(ctx, k)
		for _, step := range []struct {
			at   time.Duration
			want bool
		}{{59 * time.Second, true}, {4 * time.Minute, false}, {6 * time.Minute, true}} {
			time.Sleep(time.Until(k.began.Add(step.at)))
			synctest.Wait()
			if m.answers() != step.want {
				t.Errorf("after %v it answers: %v", step.at, !step.want)
			}
		}
		// It did not ask more often than a kubelet that stays away is worth.
		if len(k.asked) > 4+6*60/15+eagerAtMost {
			t.Errorf("asked %d times", len(k.asked))
		}
	})
}

func TestOnlyRunningPodsAreListed(t *testing.T) {
	store := indexer(t,
		pod("default", "web", corev1.PodRunning), pod("default", "done", corev1.PodSucceeded), pod("other", "db", corev1.PodRunning))
	pods := runningPods{corelisters.NewPodLister(store)}
	for _, test := range []struct {
		namespace, selector string
		want                int
	}{{"", "", 2}, {"default", "", 1}, {"other", "app=db", 1}, {"other", "app=web", 0}, {"none", "", 0}} {
		selector, err := labels.Parse(test.selector)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pods.ByNamespace(test.namespace).List(selector)
		if err != nil || len(found) != test.want {
			t.Errorf("%+v: %v, %v", test, found, err)
		}
	}
	found, err := pods.Get("default/web")
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := found.(*metav1.PartialObjectMetadata); !ok || m.Name != "web" || m.Labels["app"] != "web" {
		t.Errorf("pod: %+v", found)
	}
	for _, key := range []string{"default/done", "default/none"} {
		if _, err := pods.Get(key); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestDescribeNamesTheKinds(t *testing.T) {
	others := func(name string) (string, spec.Extensions) { return name, spec.Extensions{"others": true} }
	config := &genericapiserver.Config{
		OpenAPIConfig:   &common.Config{GetDefinitionName: others},
		OpenAPIV3Config: &common.OpenAPIV3Config{GetDefinitionName: others},
	}
	Describe(config)
	for _, name := range []nameFunc{config.OpenAPIConfig.GetDefinitionName, config.OpenAPIV3Config.GetDefinitionName} {
		_, extensions := name(v1beta1.NodeMetrics{}.OpenAPIModelName())
		want := []any{map[string]any{"group": "metrics.k8s.io", "version": "v1beta1", "kind": "NodeMetrics"}}
		if d := cmp.Diff(any(want), extensions["x-kubernetes-group-version-kind"]); d != "" {
			t.Errorf("kind (-want +got):\n%s", d)
		}
		if _, extensions := name("io.k8s.api.core.v1.Pod"); extensions["others"] != true {
			t.Error("the names of others are not theirs any more")
		}
	}
}
