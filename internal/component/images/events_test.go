package images

import (
	"testing"

	"github.com/containerd/containerd/v2/pkg/filters"
)

func TestEventFiltersAreWhatContainerdParses(t *testing.T) {
	f, err := filters.ParseAll(eventFilters()...)
	must(t, err)
	for topic, want := range map[string]bool{"/images/create": true, "/images/delete": true, "/containers/create": false, "/tasks/exit": false} {
		event := filters.AdapterFunc(func(path []string) (string, bool) {
			return map[string]string{"namespace": "k8s.io", "topic": topic}[path[0]], true
		})
		if f.Match(event) != want {
			t.Errorf("%s matches: %v", topic, !want)
		}
	}
}
