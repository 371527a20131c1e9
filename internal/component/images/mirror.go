package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mirror answers the pull half of the OCI distribution API, from containerd's own store, for images
// that were made on this machine. Everything else is 404, after which containerd asks the registry.
type mirror struct {
	images     imageGetter
	content    contentReader
	provenance *provenance
	// ask says why the registry of an image says neither that it has it nor that it has not; nil does not ask.
	ask func(ctx context.Context, image string) error
	// pending gives the target of an image whose record is about to be restored.
	pending func(name string) (ocispec.Descriptor, bool)
	// asked is told of each request.
	asked func()
	log   *slog.Logger
}

// imageGetter is the part of containerd's images.Store that the mirror needs.
type imageGetter interface {
	Get(ctx context.Context, name string) (images.Image, error)
	List(ctx context.Context, filters ...string) ([]images.Image, error)
}

// contentReader is the part of containerd's content store that is read here.
type contentReader interface {
	content.InfoProvider
	content.Provider
}

// errNotLocal: the image is not here, or was not made here.
var errNotLocal = errors.New("no image of this name was built or loaded on this machine")

// switchable is the mirror of the containerd that is connected, if one is.
type switchable struct{ current atomic.Pointer[mirror] }

func (s *switchable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m := s.current.Load(); m != nil {
		m.ServeHTTP(w, r)
		return
	}
	refuse(w, http.StatusNotFound, "UNAVAILABLE", "containerd is away")
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.asked()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "only pulling is possible here")
		return
	}
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		w.WriteHeader(http.StatusOK)
		return
	}
	repository, ref, isManifest, err := parseRequest(r)
	if err != nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", err.Error())
		return
	}
	desc, err := m.find(r.Context(), repository, ref)
	if errors.Is(err, errNotLocal) {
		m.miss(w, r, repository, ref, isManifest)
		return
	}
	if err == nil {
		err = m.serve(w, r, desc)
	}
	if err != nil {
		m.log.Warn("image mirror", "repository", repository.Name(), "reference", ref, "error", err)
		refuse(w, http.StatusNotFound, "UNKNOWN", "the local image store could not be read")
	}
}

// parseRequest reads /v2/NAME/manifests/REF?ns=REGISTRY and /v2/NAME/blobs/DIGEST?ns=REGISTRY.
func parseRequest(r *http.Request) (repository reference.Named, ref string, isManifest bool, err error) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	name, ref, isManifest := cutLast(path, "/manifests/")
	if !isManifest {
		var isBlob bool
		if name, ref, isBlob = cutLast(path, "/blobs/"); !isBlob {
			return nil, "", false, errors.New("no such endpoint")
		}
	}
	ns := r.URL.Query().Get("ns")
	if ns == "" {
		return nil, "", false, errors.New("the query parameter ns, which names the registry, is missing")
	}
	repository, err = reference.WithName(ns + "/" + name)
	if err != nil {
		return nil, "", false, fmt.Errorf("%q is not the name of a repository", ns+"/"+name)
	}
	return repository, ref, isManifest, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// find gives the descriptor of what ref, a tag or a digest, means in a repository.
func (m *mirror) find(ctx context.Context, repository reference.Named, ref string) (ocispec.Descriptor, error) {
	if d := digest.Digest(ref); d.Validate() == nil {
		return m.findDigest(ctx, repository, d)
	}
	tagged, err := reference.WithTag(repository, ref)
	if err != nil {
		return ocispec.Descriptor{}, errNotLocal
	}
	target, err := m.target(ctx, tagged.String())
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	local, err := m.provenance.isLocal(ctx, m.content, repository, target.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if !local {
		return ocispec.Descriptor{}, errNotLocal
	}
	return target, nil
}

func (m *mirror) target(ctx context.Context, name string) (ocispec.Descriptor, error) {
	img, err := m.images.Get(ctx, name)
	if err == nil {
		return img.Target, nil
	}
	if !errdefs.IsNotFound(err) {
		return ocispec.Descriptor{}, err
	}
	if target, ok := m.pending(name); ok {
		return target, nil
	}
	return ocispec.Descriptor{}, errNotLocal
}

// findDigest looks for d in the local images of a repository: as their target, or anywhere below it.
// containerd hardly ever asks, because it finds the content in its store by itself.
func (m *mirror) findDigest(ctx context.Context, repository reference.Named, d digest.Digest) (ocispec.Descriptor, error) {
	all, err := m.images.List(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	seen := map[digest.Digest]bool{}
	for _, img := range all {
		named, err := reference.ParseNormalizedNamed(img.Name)
		if err != nil || named.Name() != repository.Name() || seen[img.Target.Digest] {
			continue
		}
		seen[img.Target.Digest] = true
		local, err := m.provenance.isLocal(ctx, m.content, repository, img.Target.Digest)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if !local {
			continue
		}
		if desc, ok := m.below(ctx, img.Target, d); ok {
			return desc, nil
		}
	}
	return ocispec.Descriptor{}, errNotLocal
}

// below walks from root to d. Content that is not here, such as other platforms, is passed over.
func (m *mirror) below(ctx context.Context, root ocispec.Descriptor, d digest.Digest) (ocispec.Descriptor, bool) {
	if root.Digest == d {
		_, err := m.content.Info(ctx, d)
		return root, err == nil
	}
	children, err := images.Children(ctx, m.content, root)
	if err != nil {
		return ocispec.Descriptor{}, false
	}
	for _, child := range children {
		if desc, ok := m.below(ctx, child, d); ok {
			return desc, true
		}
	}
	return ocispec.Descriptor{}, false
}

func (m *mirror) serve(w http.ResponseWriter, r *http.Request, desc ocispec.Descriptor) error {
	blob, err := m.content.ReaderAt(r.Context(), desc)
	if err != nil {
		return err
	}
	defer blob.Close()
	w.Header().Set("Content-Type", desc.MediaType)
	w.Header().Set("Docker-Content-Digest", desc.Digest.String())
	w.Header().Set("ETag", `"`+desc.Digest.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(blob, 0, blob.Size()))
	return nil
}

// miss sends containerd on to the registry with 404. But when that cannot be reached, has a certificate that nobody
// knows or wants credentials, containerd would report our answer and hide the reason, because a status outranks a
// request that failed (core/remotes/docker/resolver.go, firstErrPriority); so the reason goes into our answer. It has to
// be 403: of that alone containerd reads the body. With the right credentials containerd goes on and never shows it.
func (m *mirror) miss(w http.ResponseWriter, r *http.Request, repository reference.Named, ref string, isManifest bool) {
	if isManifest && m.ask != nil {
		separator := ":"
		if digest.Digest(ref).Validate() == nil {
			separator = "@"
		}
		if err := m.ask(r.Context(), repository.Name()+separator+ref); err != nil {
			refuse(w, http.StatusForbidden, "UNAVAILABLE", fmt.Sprintf("%v, and %v", errNotLocal, err))
			return
		}
	}
	code := "BLOB_UNKNOWN"
	if isManifest {
		code = "MANIFEST_UNKNOWN"
	}
	refuse(w, http.StatusNotFound, code, errNotLocal.Error())
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	// The client is gone when this fails.
	_ = json.NewEncoder(w).Encode(map[string][]entry{"errors": {{code, message}}})
}
