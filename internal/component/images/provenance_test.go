package images

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/reference"
)

func TestLocalStaysLocalAfterAPullThroughTheMirror(t *testing.T) {
	f := newFake()
	file := filepath.Join(t.TempDir(), "local.json")
	target := f.manifest(t, "hello")
	repository, err := reference.WithName("docker.io/library/hello")
	must(t, err)

	check := func(p *provenance, want bool) {
		t.Helper()
		got, err := p.isLocal(t.Context(), f, repository, target.Digest)
		must(t, err)
		if got != want {
			t.Errorf("local: %v, want %v", got, want)
		}
	}
	p, err := openProvenance(file, time.Now)
	must(t, err)
	check(p, true)
	f.pulled(target.Digest, "docker.io", "library/hello") // by CRI, from us
	check(p, true)
	p, err = openProvenance(file, time.Now) // the next start
	must(t, err)
	check(p, true)

	// Deleted, and pulled from the registry: the same digest is now the registry's.
	b := f.blobs[target.Digest]
	b.info.CreatedAt = time.Now().Add(time.Second)
	f.blobs[target.Digest] = b
	check(p, false)
	p, err = openProvenance(file, time.Now)
	must(t, err)
	check(p, false)
}

func TestForgetDropsWhatIsGone(t *testing.T) {
	f := newFake()
	p, err := openProvenance(filepath.Join(t.TempDir(), "local.json"), time.Now)
	must(t, err)
	repository, err := reference.WithName("docker.io/library/hello")
	must(t, err)
	gone, here := f.manifest(t, "gone"), f.manifest(t, "here")
	for _, d := range []string{gone.Digest.String(), here.Digest.String()} {
		p.local[repository.Name()+"@"+d] = time.Now()
	}
	delete(f.blobs, gone.Digest)
	must(t, p.forget(t.Context(), f))
	if len(p.local) != 1 {
		t.Errorf("kept %v", p.local)
	}
}

func TestDamagedListIsPutAside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "local.json")
	must(t, os.WriteFile(file, []byte("{torn"), 0o600))
	p, err := openProvenance(file, time.Now)
	must(t, err)
	if len(p.local) != 0 {
		t.Errorf("got %v", p.local)
	}
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
}
