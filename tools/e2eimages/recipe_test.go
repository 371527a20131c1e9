package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/ociarchive"
)

func TestAllInBin(t *testing.T) {
	got := allInBin([]ociarchive.Entry{{Name: "bin/ls", Link: "/bin/busybox"}, {Name: "sbin/sysctl", Link: "/bin/busybox"}, {Name: "etc/passwd"}})
	if diff := cmp.Diff([]ociarchive.Entry{{Name: "bin/sysctl", Link: "/bin/busybox"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryRecipeIsWanted(t *testing.T) {
	recipes := map[string]recipe{"agnhost": recipe{}.with(ocispec.ImageConfig{}), "gone": {}}
	archive := ociarchive.New("amd64", time.Unix(0, 0))
	names := []string{"boxyard.test/e2e/agnhost:2.66.1", "boxyard.test/e2e/agnhost:2.55", "boxyard.test/e2e/perl:5.26"}
	if err := addAll(archive, recipes, names); err == nil {
		t.Error("no error for a recipe that no spec wants")
	}
	delete(recipes, "gone")
	if err := addAll(archive, recipes, names); err != nil {
		t.Error(err)
	}
}

func TestRecipesDoNotShareTheirLayers(t *testing.T) {
	base := recipe{}.with(ocispec.ImageConfig{}, ociarchive.Layer("base"))
	one, two := base.with(ocispec.ImageConfig{}, ociarchive.Layer("one")), base.with(ocispec.ImageConfig{}, ociarchive.Layer("two"))
	if string(one.layers[1]) != "one" || string(two.layers[1]) != "two" || len(base.layers) != 1 {
		t.Errorf("layers %q, %q on %q", one.layers, two.layers, base.layers)
	}
}
