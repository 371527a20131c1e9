package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// maxManifest is the library's own limit (registry/handlers/manifests.go).
const maxManifest = 4 << 20

// referrers adds the referrers API of the distribution specification 1.1, which the library does not have: who pushes a
// manifest with a subject finds it by that subject. Each descriptor is a file, <subject>/<referrer>.json below the
// repository's directory.
type referrers struct {
	next http.Handler
	dir  string

	mu sync.Mutex // of the files
}

func newReferrers(next http.Handler, dir string) *referrers {
	return &referrers{next: next, dir: filepath.Join(dir, "referrers")}
}

var (
	manifestPath  = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
	referrersPath = regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`)
	// repository is the specification's, so that no name leads out of the directory.
	repository = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
)

func (h *referrers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if parts := referrersPath.FindStringSubmatch(r.URL.Path); parts != nil && repository.MatchString(parts[1]) {
		h.list(w, r, parts[1], parts[2])
		return
	}
	parts := manifestPath.FindStringSubmatch(r.URL.Path)
	switch {
	case parts == nil || !repository.MatchString(parts[1]):
		h.next.ServeHTTP(w, r)
	case r.Method == http.MethodPut:
		h.put(w, r, parts[1])
	case r.Method == http.MethodDelete:
		h.delete(w, r, parts[1], parts[2])
	default:
		h.next.ServeHTTP(w, r)
	}
}

// manifest is what images, indexes and artifacts have in common here.
type manifest struct {
	MediaType    string              `json:"mediaType"`
	ArtifactType string              `json:"artifactType"`
	Config       *ocispec.Descriptor `json:"config"`
	Subject      *ocispec.Descriptor `json:"subject"`
	Annotations  map[string]string   `json:"annotations"`
}

// put notes the referrer once the library has taken the manifest.
func (h *referrers) put(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if err != nil {
		http.Error(w, `{"errors":[{"code":"SIZE_INVALID","message":"the manifest is too large, or did not arrive whole"}]}`, http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	var m manifest
	if json.Unmarshal(body, &m) != nil || m.Subject == nil || m.Subject.Digest.Validate() != nil {
		h.next.ServeHTTP(w, r) // which says what is wrong with it
		return
	}
	answer := &held{ResponseWriter: w}
	h.next.ServeHTTP(answer, r)
	if answer.status == http.StatusCreated {
		d := ocispec.Descriptor{
			MediaType: m.mediaType(r), Digest: digest.FromBytes(body), Size: int64(len(body)),
			ArtifactType: m.artifactType(), Annotations: m.Annotations,
		}
		if err := h.note(name, m.Subject.Digest, d); err != nil {
			logrus.WithError(err).Error("a referrer cannot be noted")
			http.Error(w, `{"errors":[{"code":"UNKNOWN","message":"the referrer cannot be noted"}]}`, http.StatusInternalServerError)
			return
		}
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	answer.release()
}

func (m manifest) mediaType(r *http.Request) string {
	if m.MediaType != "" {
		return m.MediaType
	}
	return r.Header.Get("Content-Type")
}

// artifactType of an image that has none is its config's media type, as the specification has it.
func (m manifest) artifactType() string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

func (h *referrers) delete(w http.ResponseWriter, r *http.Request, name, reference string) {
	answer := &held{ResponseWriter: w}
	h.next.ServeHTTP(answer, r)
	if d, err := digest.Parse(reference); err == nil && answer.status == http.StatusAccepted {
		if err := h.forget(name, d); err != nil {
			logrus.WithError(err).Error("a referrer that was deleted is still noted")
		}
	}
	answer.release()
}

func (h *referrers) list(w http.ResponseWriter, r *http.Request, name, reference string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !h.allowed(w, r) {
		return
	}
	subject, err := digest.Parse(reference)
	if err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errors":[{"code":"DIGEST_INVALID","message":"what follows /referrers/ has to be a digest"}]}`)
		return
	}
	found, err := h.found(name, subject)
	if err != nil {
		logrus.WithError(err).Error("referrers cannot be read")
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if kind := r.URL.Query().Get("artifactType"); kind != "" {
		found = slices.DeleteFunc(found, func(d ocispec.Descriptor) bool { return d.ArtifactType != kind })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(ocispec.Index{ // an error is a client that has gone
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: found,
	})
}

// allowed asks the library whether it would let the client in; else its refusal is the answer.
func (h *referrers) allowed(w http.ResponseWriter, r *http.Request) bool {
	base := r.Clone(r.Context())
	base.Method, base.URL.Path, base.URL.RawPath, base.URL.RawQuery, base.Body = http.MethodGet, "/v2/", "", "", http.NoBody
	answer := httptest.NewRecorder()
	h.next.ServeHTTP(answer, base)
	if answer.Code == http.StatusOK {
		return true
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	return false
}

func (h *referrers) subjectDir(name string, subject digest.Digest) string {
	return filepath.Join(h.dir, filepath.FromSlash(name), "_of", subject.Algorithm().String()+"-"+subject.Encoded())
}

func fileOf(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() + ".json" }

func (h *referrers) note(name string, subject digest.Digest, d ocispec.Descriptor) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	dir := h.subjectDir(name, subject)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, fileOf(d.Digest)), data)
}

// writeFile replaces a file whole or not at all.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// forget takes a manifest out of whatever subject's list it is in.
func (h *referrers) forget(name string, d digest.Digest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	files, err := filepath.Glob(filepath.Join(h.dir, filepath.FromSlash(name), "_of", "*", fileOf(d)))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// noted are the referrers of all subjects in a repository.
func (h *referrers) noted(name string) ([]digest.Digest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	files, err := filepath.Glob(filepath.Join(h.dir, filepath.FromSlash(name), "_of", "*", "*.json"))
	var all []digest.Digest
	for _, file := range files {
		text := strings.TrimSuffix(filepath.Base(file), ".json")
		if d, err := digest.Parse(strings.Replace(text, "-", ":", 1)); err == nil {
			all = append(all, d)
		}
	}
	return all, err
}

// found lists a subject's referrers, in an order that stays.
func (h *referrers) found(name string, subject digest.Digest) ([]ocispec.Descriptor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dir := h.subjectDir(name, subject)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list := []ocispec.Descriptor{} // never null
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		var d ocispec.Descriptor
		if err := json.Unmarshal(data, &d); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// held keeps an answer back until it may go, and what it says of the subject with it. Answers to PUT and DELETE of
// manifests are short.
type held struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *held) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *held) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *held) release() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.ResponseWriter.WriteHeader(a.status)
	_, _ = a.ResponseWriter.Write(a.body.Bytes())
}
