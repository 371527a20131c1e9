//go:build integration

package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// digests: however an image came here, a pod's imageID is the digest that Docker says.
func digests(b box) {
	const dockerfile = "FROM boxyard/base\nRUN echo digests > /name\n"
	dir := b.contextOf(dockerfile)
	first := b.digestOf("digests-built:1", "build", "--quiet", "--tag", "digests-built:1", dir)
	b.runsAs("digests-built:1", first)
	// Nothing has changed but the provenance, and with it the digest.
	again := b.digestOf("digests-built:1", "build", "--quiet", "--tag", "digests-built:1", dir)
	b.runsAs("digests-built:1", again)
	b.docker("tag", "digests-built:1", "digests-named:2")
	b.runsAs("digests-named:2", again)
	// Of images that differ in nothing but their digest CRI says any, so the others differ.
	plain := b.contextOf(dockerfile + "RUN echo plain > /plain\n")
	b.runsAs("digests-plain:1", b.digestOf("digests-plain:1", "build", "--quiet", "--provenance=false", "--tag", "digests-plain:1", plain))

	file := filepath.Join(b.t.TempDir(), "image.tar")
	saved := b.digestOf("digests-loaded:1", "build", "--quiet", "--tag", "digests-loaded:1", b.contextOf(dockerfile+"RUN echo loaded > /loaded\n"))
	b.docker("save", "--output", file, "digests-loaded:1")
	b.forget("digests-loaded:1")
	b.forgetBuilds()
	if loaded := b.digestOf("digests-loaded:1", "load", "--input", file); loaded != saved {
		b.t.Errorf("saved as %s, loaded as %s", saved, loaded)
	}
	b.runsAs("digests-loaded:1", saved)

	project := b.context(map[string]string{"Dockerfile": dockerfile + "RUN echo composed > /composed\n", "compose.yaml": "services: {web: {image: 'digests-composed:1', build: .}}\n"})
	b.runsAs("digests-composed:1", b.digestOf("digests-composed:1", "compose", "--project-directory", project, "build", "--quiet"))

	// What pods used goes like any other image, and nothing of it stays.
	for _, name := range []string{"built:1", "named:2", "plain:1", "loaded:1", "composed:1"} {
		b.docker("rmi", "digests-"+name)
	}
	b.eventually(20*time.Second, "no image is left", func() error {
		if out := b.docker("images", "--all", "--digests"); strings.Contains(out, "digests-") {
			return fmt.Errorf("there are\n%s", out)
		}
		return nil
	})
}

// digestOf does something that makes the image, and returns the digest that Docker has of it.
func (b box) digestOf(image string, args ...string) string {
	b.t.Helper()
	b.docker(args...)
	_, digest, ok := strings.Cut(b.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", image), "@")
	if !ok {
		b.t.Fatalf("%s has no digest", image)
	}
	return digest
}

// runsAs runs a pod, as a user does who gives no pull policy.
func (b box) runsAs(image, digest string) {
	b.t.Helper()
	b.kubectl("run", "digests", "--image="+image, "--restart=Never", "--command", "--", "sleep", "600")
	b.kubectl("wait", "pod/digests", "--for=condition=Ready", "--timeout=60s")
	id := b.kubectl("get", "pod", "digests", "--output=jsonpath={.status.containerStatuses[0].imageID}")
	if repository, _, _ := strings.Cut(image, ":"); !strings.HasPrefix(id, "docker.io/library/") || !strings.HasSuffix(id, "@"+digest) {
		b.t.Errorf("the imageID of a pod with %s is %s, want %s@%s", image, id, repository, digest)
	}
	b.kubectl("delete", "pod", "digests", "--now")
}
