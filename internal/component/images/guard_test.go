package images

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	pause = "docker.io/boxyard/pause:1"
	hello = "docker.io/library/hello:latest"
)

// newGuard makes a guard on files in dir, connected to f, which has the pause image.
func newGuard(t *testing.T, f *fake, dir string, needs ...string) *guard {
	t.Helper()
	p, err := openProvenance(filepath.Join(dir, "local.json"), time.Now)
	must(t, err)
	g, err := openGuard(filepath.Join(dir, "guarded.json"), []string{pause}, p, quiet())
	must(t, err)
	g.need(needs)
	if _, err := f.store().images.Get(t.Context(), pause); err != nil {
		f.onLoad = func() { f.tag(pause, f.manifest(t, "pause"), nil) }
	}
	must(t, g.connected(t.Context(), f.store()))
	return g
}

func leasedDigests(f *fake) []string { return slices.Sorted(maps.Keys(f.leased)) }

func contentOf(targets ...ocispec.Descriptor) []string {
	var list []string
	for _, d := range targets {
		list = append(list, "content/"+d.Digest.String())
	}
	slices.Sort(list)
	return list
}

func TestMissingBaseImagesAreLoadedOnce(t *testing.T) {
	f := newFake()
	dir := t.TempDir()
	newGuard(t, f, dir)
	newGuard(t, f, dir)
	if f.loads != 1 {
		t.Errorf("loaded %d times", f.loads)
	}
	if d := cmp.Diff(contentOf(f.images[pause].Target), leasedDigests(f)); d != "" {
		t.Errorf("lease (-want +got):\n%s", d)
	}
	if f.labels(pause)[labelPinned] != "pinned" {
		t.Error("the pause image is not pinned")
	}
}

func TestNeededImageIsRestoredWithTargetAndLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		target := f.manifest(t, "hello")
		f.tag(hello, target, map[string]string{"a": "b"})
		f.tag("docker.io/library/other:latest", f.manifest(t, "other"), nil)
		g := newGuard(t, f, t.TempDir(), hello)
		before := f.images[hello]

		f.untag(hello)
		g.deleted(hello)
		f.untag("docker.io/library/other:latest")
		g.deleted("docker.io/library/other:latest")
		must(t, g.restoreDue(t.Context()))
		if slices.Contains(f.names(), hello) {
			t.Error("restored before Docker could move the tag")
		}
		wait, ok := g.nextRestore()
		if !ok {
			t.Fatal("nothing to restore")
		}
		time.Sleep(wait)
		must(t, g.restoreDue(t.Context()))
		if d := cmp.Diff([]string{pause, hello, "docker.io/library/hello@" + target.Digest.String()}, f.names()); d != "" {
			t.Errorf("images (-want +got):\n%s", d)
		}
		if d := cmp.Diff(before, f.images[hello]); d != "" {
			t.Errorf("the record changed:\n%s", d)
		}
		if _, ok := g.nextRestore(); ok {
			t.Error("still something to restore")
		}
	})
}

func TestMovedTagIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.tag(hello, f.manifest(t, "v1"), nil)
		g := newGuard(t, f, t.TempDir(), hello)
		v2 := f.manifest(t, "v2")
		f.untag(hello)
		g.deleted(hello)
		f.tag(hello, v2, nil)
		must(t, g.changed(t.Context(), hello))
		time.Sleep(2 * restoreDelay)
		must(t, g.restoreDue(t.Context()))
		if f.images[hello].Target.Digest != v2.Digest {
			t.Error("the tag was taken back")
		}
		if d := cmp.Diff(contentOf(v2, f.images[pause].Target), leasedDigests(f)); d != "" {
			t.Errorf("lease (-want +got):\n%s", d)
		}
	})
}

func TestReconcileInTheDelayKeepsWhatIsAboutToBeRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		target := f.manifest(t, "hello")
		f.tag(hello, target, nil)
		g := newGuard(t, f, t.TempDir(), hello)
		f.untag(hello)
		g.deleted(hello)
		must(t, g.reconcile(t.Context()))
		if !f.leased["content/"+target.Digest.String()] {
			t.Error("the lease was ended")
		}
		if _, ok := g.pending.Load(hello); !ok {
			t.Error("the mirror does not know it")
		}
		time.Sleep(restoreDelay)
		must(t, g.restoreDue(t.Context()))
		if !slices.Contains(f.names(), hello) {
			t.Error("not restored")
		}
	})
}

func TestRestartHealsWhatHappenedMeanwhile(t *testing.T) {
	f := newFake()
	dir := t.TempDir()
	target := f.manifest(t, "hello")
	f.tag(hello, target, nil)
	newGuard(t, f, dir, hello)
	f.untag(hello)
	newGuard(t, f, dir, hello)
	if f.images[hello].Target.Digest != target.Digest {
		t.Error("not restored")
	}
}

func TestImageWhoseContentIsGoneIsForgotten(t *testing.T) {
	f := newFake()
	dir := t.TempDir()
	target := f.manifest(t, "hello")
	f.tag(hello, target, nil)
	newGuard(t, f, dir, hello)
	f.untag(hello)
	delete(f.blobs, target.Digest)
	g := newGuard(t, f, dir, hello)
	if slices.Contains(f.names(), hello) || len(g.kept) != 1 {
		t.Errorf("images %v, kept %v", f.names(), g.kept)
	}
}

func TestWhatIsNoLongerNeededLeavesTheLease(t *testing.T) {
	f := newFake()
	target := f.manifest(t, "hello")
	f.tag(hello, target, nil)
	f.pulled(target.Digest, "docker.io", "library/hello")
	g := newGuard(t, f, t.TempDir(), hello)
	if f.labels(hello)[labelWhy] != "needed" || f.labels(hello)[labelPinned] != "pinned" {
		t.Errorf("labels %v", f.labels(hello))
	}
	g.need(nil)
	must(t, g.reconcile(t.Context()))
	if d := cmp.Diff(contentOf(f.images[pause].Target), leasedDigests(f)); d != "" {
		t.Errorf("lease (-want +got):\n%s", d)
	}
	if len(f.labels(hello)) != 0 {
		t.Errorf("labels %v", f.labels(hello))
	}
	g.deleted(hello)
	if _, ok := g.nextRestore(); ok {
		t.Error("it would be restored")
	}
}

func TestDamagedFilesStartAnew(t *testing.T) {
	f := newFake()
	dir := t.TempDir()
	target := f.manifest(t, "hello")
	f.tag(hello, target, nil)
	must(t, os.WriteFile(filepath.Join(dir, "guarded.json"), []byte("{"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "local.json"), []byte("null"), 0o600))
	g := newGuard(t, f, dir, hello)
	if len(g.kept) != 2 {
		t.Errorf("kept %v", g.kept)
	}
}

func TestPins(t *testing.T) {
	const nginx = "docker.io/library/nginx:1"
	f := newFake()
	local, pulled := f.manifest(t, "hello"), f.manifest(t, "nginx")
	f.tag(hello, local, nil)
	f.tag("moby-dangling@"+local.Digest.String(), local, nil)
	f.tag("docker.io/library/hello@"+local.Digest.String(), local, nil)
	f.tag(nginx, pulled, map[string]string{"io.cri-containerd.image": "managed"})
	f.pulled(pulled.Digest, "docker.io", "library/nginx")
	g := newGuard(t, f, t.TempDir())
	for name, want := range map[string]string{
		hello: "local", "moby-dangling@" + local.Digest.String(): "local", nginx: "", pause: "base",
		"docker.io/library/hello@" + local.Digest.String(): "",
	} {
		if got := f.labels(name)[labelWhy]; got != want {
			t.Errorf("%s is pinned because %q, want %q", name, got, want)
		}
		if got := f.labels(name)[labelPinned] == "pinned"; got != (want != "") {
			t.Errorf("%s pinned: %v", name, got)
		}
	}
	g.docker = map[digest.Digest]bool{pulled.Digest: true}
	must(t, g.reconcile(t.Context()))
	if f.labels(nginx)[labelWhy] != "docker" {
		t.Errorf("labels %v", f.labels(nginx))
	}
	g.docker = nil // dockerd is away: what it used stays
	must(t, g.reconcile(t.Context()))
	if f.labels(nginx)[labelPinned] != "pinned" {
		t.Errorf("labels %v", f.labels(nginx))
	}
	g.docker = map[digest.Digest]bool{}
	must(t, g.reconcile(t.Context()))
	if d := cmp.Diff(map[string]string{"io.cri-containerd.image": "managed"}, f.labels(nginx)); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
	writes := f.writes
	must(t, g.reconcile(t.Context()))
	if f.writes != writes {
		t.Error("a reconcile of what is as it should be writes")
	}
}

func TestAPinOfOthersStays(t *testing.T) {
	const nginx = "docker.io/library/nginx:1"
	f := newFake()
	pulled := f.manifest(t, "nginx")
	f.pulled(pulled.Digest, "docker.io", "library/nginx")
	f.tag(nginx, pulled, map[string]string{labelPinned: "pinned"})
	newGuard(t, f, t.TempDir())
	if d := cmp.Diff(map[string]string{labelPinned: "pinned"}, f.labels(nginx)); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
}

func TestRecordByIDGoesOnceCRIKnowsTheName(t *testing.T) {
	f := newFake()
	target := f.manifest(t, "hello")
	id := digest.FromString("config").String()
	f.tag(hello, target, nil)
	g := newGuard(t, f, t.TempDir())
	f.tag(id, target, map[string]string{"io.cri-containerd.image": "managed"})
	must(t, g.changed(t.Context(), id))
	if !slices.Contains(f.names(), id) {
		t.Fatal("deleted before CRI knew the name")
	}
	f.tag(hello, target, map[string]string{"io.cri-containerd.image": "managed"})
	must(t, g.changed(t.Context(), hello))
	if slices.Contains(f.names(), id) || !slices.Contains(f.names(), hello) {
		t.Errorf("images %v", f.names())
	}
}

func TestRecordByIDStaysWhilePodsPull(t *testing.T) {
	f := newFake()
	target := f.manifest(t, "hello")
	id := digest.FromString("config").String()
	f.tag(hello, target, map[string]string{"io.cri-containerd.image": "managed"})
	g := newGuard(t, f, t.TempDir())
	now := time.Now()
	g.clock = func() time.Time { return now }
	g.pulled.Store(now.UnixNano())
	f.tag(id, target, map[string]string{"io.cri-containerd.image": "managed"})
	must(t, g.changed(t.Context(), id))
	if !slices.Contains(f.names(), id) {
		t.Fatal("deleted while a pull may look for it")
	}
	if wait, ok := g.nextRestore(); !ok || wait != pullTime {
		t.Errorf("looks again after %v, %v", wait, ok)
	}
	now = now.Add(pullTime)
	must(t, g.restoreDue(t.Context()))
	if slices.Contains(f.names(), id) {
		t.Errorf("images %v", f.names())
	}
	if _, ok := g.nextRestore(); ok {
		t.Error("there is something to do still")
	}
}

func TestRecordByIDIsThereForAnImageVolume(t *testing.T) {
	f := newFake()
	target := f.manifest(t, "hello")
	f.tag(hello, target, map[string]string{"io.cri-containerd.image": "managed"})
	g := newGuard(t, f, t.TempDir(), hello)
	before := f.names()
	g.mounts([]string{hello})
	must(t, g.reconcile(t.Context()))
	added := slices.DeleteFunc(f.names(), func(name string) bool { return slices.Contains(before, name) })
	if len(added) != 1 || !isID(added[0]) || added[0] == target.Digest.String() {
		t.Fatalf("records %v, want one by the digest of the configuration beside %v", f.names(), before)
	}
	must(t, g.changed(t.Context(), added[0]))
	if !slices.Contains(f.names(), added[0]) {
		t.Error("deleted while a pod mounts the image")
	}
	g.mounts(nil)
	must(t, g.reconcile(t.Context()))
	if slices.Contains(f.names(), added[0]) {
		t.Error("still there after the pod")
	}
}
