package spelling

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNear(t *testing.T) {
	got := Near("wbe", []string{"kubernetes", "web", "database", "wbe-store"}, 2)
	if d := cmp.Diff([]string{"wbe-store", "web"}, got); d != "" {
		t.Error(d)
	}
}
