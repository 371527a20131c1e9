package controlplane

import (
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serveroptions "k8s.io/apiserver/pkg/server/options"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// A name that upstream does not know would be passed over in silence.
func TestUncachedKindsAreUpstreams(t *testing.T) {
	known := map[schema.GroupResource]bool{}
	for _, scheme := range []*runtime.Scheme{legacyscheme.Scheme, apiextensions.Scheme, aggregator.Scheme} {
		for kind := range scheme.AllKnownTypes() {
			plural, _ := meta.UnsafeGuessKindToResource(kind)
			known[plural.GroupResource()] = true
		}
	}
	sizes, err := serveroptions.ParseWatchCacheSizes(strings.Split(watchCacheSizes(), ",")) // as the flag does
	if err != nil {
		t.Fatal(err)
	}
	if got := len(slices.Compact(slices.Sorted(slices.Values(uncached())))); got != len(uncached()) || len(sizes) != got {
		t.Errorf("%d names, %d of them different, %d understood", len(uncached()), got, len(sizes))
	}
	for resource, size := range sizes {
		if !known[resource] {
			t.Errorf("%s is no resource of kube-apiserver", resource)
		}
		if size != 0 {
			t.Errorf("%s has a cache of %d", resource, size)
		}
	}
}
