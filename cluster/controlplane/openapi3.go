package controlplane

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler3"
)

const openAPI3Path = "/openapi/v3"

// serveOpenAPI3 is InstallV3 of k8s.io/apiserver/pkg/server/routes, which writes the documents of all groups and versions
// at once, and all of them once more as JSON when the list is asked for, which the aggregator does every second.
//
// The list names each document with a hash by which clients keep it for ever. Upstream's is one of the document; ours is
// one of what the document is made from, so that it is known before there is a document.
func serveOpenAPI3(config *common.OpenAPIV3Config, services *restful.Container, paths *mux.PathRecorderMux) {
	d := &documents3{started: time.Now(), config: config, services: services, written: map[string]http.Handler{}}
	d.listed = sync.OnceValue(d.list)
	paths.HandleFunc(openAPI3Path, d.serveList)
	paths.HandlePrefix(openAPI3Path+"/", http.HandlerFunc(d.serveDocument))
}

// documents3 are the documents of one server, each written for the first request that asks for it.
type documents3 struct {
	started  time.Time
	config   *common.OpenAPIV3Config
	services *restful.Container
	listed   func() list3

	mu      sync.Mutex              // one is written at a time
	written map[string]http.Handler // upstream's handler, by name
}

// list3 is what there is, and that as it is answered.
type list3 struct {
	byName  map[string]document3
	encoded []byte
	etag    string
	err     error
}

// document3 is the one of a group and version, as "apis/apps/v1", or of what else has paths, as "version".
type document3 struct {
	service *restful.WebService
	hash    string // as it stands in the URL
}

// list is made for the first request, the aggregator's, which comes when all paths are there.
func (d *documents3) list() list3 {
	made := d.madeFrom()
	l := list3{byName: map[string]document3{}}
	paths := map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}
	for _, service := range d.services.RegisteredWebServices() {
		name := strings.TrimPrefix(service.RootPath(), "/")
		document := document3{service: service, hash: hashOf(made, service)}
		l.byName[name] = document
		paths[name] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: relativeURL(name, document.hash)}
	}
	l.encoded, l.err = json.Marshal(handler3.OpenAPIV3Discovery{Paths: paths})
	l.etag = strconv.Quote(fmt.Sprintf("%X", sha512.Sum512(l.encoded)))
	return l
}

func (d *documents3) serveList(w http.ResponseWriter, r *http.Request) {
	l := d.listed()
	if l.err != nil {
		http.Error(w, "encode the list of OpenAPI documents: "+l.err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Etag", l.etag)
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, openAPI3Path, d.started, bytes.NewReader(l.encoded))
}

// serveDocument has upstream's handler answer, which knows the document by the hash of its own.
func (d *documents3) serveDocument(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, openAPI3Path+"/")
	document, ok := d.listed().byName[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	query := r.URL.Query()
	hash := query.Get("hash")
	if hash != "" && hash != document.hash {
		http.Redirect(w, r, relativeURL(name, document.hash), http.StatusMovedPermanently)
		return
	}
	upstreams := d.write(name, document)
	theirs := upstreamsHash(upstreams, r)
	if theirs == "" {
		http.Error(w, "the OpenAPI document of "+name+" cannot be written: the log of cluster says why", http.StatusInternalServerError)
		return
	}
	if hash != "" {
		query.Set("hash", theirs)
		r = r.Clone(r.Context())
		r.URL.RawQuery = query.Encode()
	}
	upstreams.ServeHTTP(w, r)
}

// write writes a document, if there is none yet, and returns upstream's handler for it.
func (d *documents3) write(name string, document document3) http.Handler {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.written[name] == nil {
		paths := mux.NewPathRecorderMux(name)
		routes.OpenAPI{V3Config: d.config}.InstallV3(restful.NewContainer().Add(document.service), paths)
		d.written[name] = paths
	}
	return d.written[name]
}

// upstreamsHash asks upstream's handler for the hash of its document, which is "" where there is none.
func upstreamsHash(upstreams http.Handler, r *http.Request) string {
	r = r.Clone(r.Context())
	r.Method, r.URL.RawQuery = http.MethodHead, ""
	r.Header = http.Header{"Accept": {"application/json"}}
	answer := headers{}
	upstreams.ServeHTTP(answer, r)
	return strings.Trim(http.Header(answer).Get("Etag"), `"`)
}

// headers is an answer of which only these are wanted.
type headers http.Header

func (h headers) Header() http.Header       { return http.Header(h) }
func (headers) Write(b []byte) (int, error) { return len(b), nil }
func (headers) WriteHeader(int)             {}

// madeFrom stands for what all documents are made from: this program with its modules, and what is switched on in it.
func (d *documents3) madeFrom() []byte {
	h := sha512.New()
	if build, ok := debug.ReadBuildInfo(); ok {
		add(h, build.String())
	}
	if d.config.Info != nil {
		add(h, d.config.Info.Title, d.config.Info.Version)
	}
	features := utilfeature.DefaultMutableFeatureGate.GetAll()
	for _, feature := range slices.Sorted(maps.Keys(features)) {
		add(h, string(feature), strconv.FormatBool(utilfeature.DefaultFeatureGate.Enabled(feature)))
	}
	return h.Sum(nil)
}

func hashOf(made []byte, service *restful.WebService) string {
	h := sha512.New()
	add(h, string(made), service.RootPath())
	for _, route := range service.Routes() {
		add(h, route.Method, route.Path, route.Operation)
	}
	return fmt.Sprintf("%X", h.Sum(nil))
}

// add adds words so that none runs into the next.
func add(h hash.Hash, words ...string) {
	for _, word := range words {
		_, _ = io.WriteString(h, word)
		h.Write([]byte{0})
	}
}

// relativeURL is where the list says that a document is.
func relativeURL(name, hash string) string {
	u := url.URL{Path: openAPI3Path + "/" + name, RawQuery: url.Values{"hash": {hash}}.Encode()}
	return u.String()
}
