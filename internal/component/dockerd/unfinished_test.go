package dockerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/sandbox"
)

type fakeSandboxes struct {
	sandbox.Store
	ids []string
}

func (f fakeSandboxes) List(context.Context, ...string) ([]sandbox.Sandbox, error) {
	var all []sandbox.Sandbox
	for _, id := range f.ids {
		all = append(all, sandbox.Sandbox{ID: id})
	}
	return all, nil
}

func TestClearUnfinishedContainers(t *testing.T) {
	now := time.Now()
	id := func(digit string) string { return strings.Repeat(digit, 64) }
	whole, pod, early, half, other, young, old := id("1"), id("2"), id("3"), id("4"), id("5"), id("6"), id("7")
	removed := id("9") // its lease is gone, and some of its files
	dir := t.TempDir()
	for _, path := range []string{whole, half + "/checkpoints", other + "/file", removed + "/mounts", "network"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{whole + "/config.v2.json", half + "/hostconfig.json", half + "/.tmp-config.v2.json123", removed + "/hostname"} {
		if err := os.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	init := func(id, suffix string) []leases.Resource {
		return []leases.Resource{{ID: id + suffix, Type: "snapshots/overlayfs"}}
	}
	manager := &fakeLeases{resources: map[string][]leases.Resource{
		whole: init(whole, "-init"), pod: init(pod, ""), early: init(early, "-init-key"), half: init(half, "-init"), other: init(other, ""),
	}}
	held := []leases.Lease{
		{ID: whole},
		{ID: pod},
		{ID: early},
		{ID: half},
		{ID: other},
		{ID: young, CreatedAt: now.Add(-time.Second)},
		{ID: old, CreatedAt: now.Add(-time.Minute)},
		{ID: id("8"), Labels: map[string]string{"a": "b"}},
		{ID: "boxyard-images"},
	}
	err := unfinished{containers: dir, leases: manager, sandboxes: fakeSandboxes{ids: []string{pod}}, now: now}.clear(t.Context(), held)
	if want := []string{early, half, old}; !slices.Equal(manager.deleted, want) {
		t.Errorf("leases deleted: %q, want %q", manager.deleted, want)
	}
	// A directory with something in it is kept, and said.
	if err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("error: %v", err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{whole, other, "network"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q, %v", left, want, err)
	}
}

// While dockerd runs, what is younger than the end of containerd, or in use, may become a container yet.
func TestClearUnfinishedContainersBesideDockerd(t *testing.T) {
	gone := time.Now()
	id := func(digit string) string { return strings.Repeat(digit, 64) }
	half, young, used := id("1"), id("2"), id("3")
	dir := t.TempDir()
	resources := map[string][]leases.Resource{}
	var held []leases.Lease
	for name, created := range map[string]time.Time{half: gone.Add(-time.Minute), young: gone.Add(time.Second), used: gone.Add(-time.Minute)} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chtimes(path, created, created)); err != nil {
			t.Fatal(err)
		}
		resources[name] = []leases.Resource{{ID: name + "-init", Type: "snapshots/overlayfs"}}
		held = append(held, leases.Lease{ID: name, CreatedAt: created})
	}
	manager := &fakeLeases{resources: resources}
	u := unfinished{containers: dir, leases: manager, sandboxes: fakeSandboxes{}, now: gone, before: gone, inUse: []string{used}}
	if err := u.clear(t.Context(), held); err != nil || !slices.Equal(manager.deleted, []string{half}) {
		t.Errorf("leases deleted: %q, %v", manager.deleted, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("directories left: %v, %v", entries, err)
	}
}
