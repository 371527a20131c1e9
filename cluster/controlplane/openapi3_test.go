package controlplane

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/emicklei/go-restful/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

func TestOpenAPI3IsUpstreamsWrittenWhenAsked(t *testing.T) {
	asked := 0
	config := openAPI3Config()
	config.GetDefinitions, config.Definitions = func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		asked++
		return openapi.GetOpenAPIDefinitions(ref)
	}, nil
	services := restful.NewContainer().Add(listing("/api/v1", "pods", corev1.PodList{}))

	ours := mux.NewPathRecorderMux("ours")
	serveOpenAPI3(config, services, ours)
	services.Add(listing("/apis/apps/v1", "deployments", appsv1.DeploymentList{}))
	list := listOf(t, ours)
	if asked != 0 {
		t.Error("a document was written before anybody asked for it")
	}
	upstreams := mux.NewPathRecorderMux("upstream's")
	routes.OpenAPI{V3Config: config}.InstallV3(services, upstreams)
	theirs := listOf(t, upstreams)
	asked = 0
	if got, want := slices.Sorted(maps.Keys(list)), slices.Sorted(maps.Keys(theirs)); !slices.Equal(got, want) || len(got) != 2 {
		t.Fatalf("listed are %q, upstream lists %q", got, want)
	}
	if list["api/v1"] == list["apis/apps/v1"] {
		t.Error("two documents have one hash")
	}
	for name, at := range list {
		for _, accept := range []string{"application/json", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"} {
			got, want := get(ours, at, accept), get(upstreams, theirs[name], accept)
			if got.Code != http.StatusOK || got.Body.String() != want.Body.String() || got.Body.Len() < 1000 {
				t.Errorf("%s as %s answers %d with %d bytes, upstream %d with %d", name, accept, got.Code, got.Body.Len(), want.Code, want.Body.Len())
			}
			for _, header := range []string{"Content-Type", "Cache-Control", "Vary", "Etag"} {
				if got.Header().Get(header) != want.Header().Get(header) || want.Header().Get(header) == "" {
					t.Errorf("%s as %s has %s %q, upstream's %q", name, accept, header, got.Header().Get(header), want.Header().Get(header))
				}
			}
		}
	}
	if asked != 2 {
		t.Errorf("the definitions were asked for %d times for two documents", asked)
	}
}

func TestOpenAPI3WithoutTheHashOfTheList(t *testing.T) {
	config := openAPI3Config()
	paths := mux.NewPathRecorderMux("ours")
	serveOpenAPI3(config, restful.NewContainer().Add(listing("/api/v1", "pods", corev1.PodList{})), paths)

	plain := get(paths, "/openapi/v3/api/v1", "application/json")
	if plain.Code != http.StatusOK || plain.Header().Get("Cache-Control") != "" || !strings.Contains(plain.Body.String(), "PodList") {
		t.Errorf("without a hash: %d, Cache-Control %q, %d bytes", plain.Code, plain.Header().Get("Cache-Control"), plain.Body.Len())
	}
	old := get(paths, "/openapi/v3/api/v1?hash=OLD", "application/json")
	if at := old.Header().Get("Location"); old.Code != http.StatusMovedPermanently || at != listOf(t, paths)["api/v1"] {
		t.Errorf("with an old hash: %d, to %q", old.Code, at)
	}
	if gone := get(paths, "/openapi/v3/apis/no/v1", "application/json"); gone.Code != http.StatusNotFound {
		t.Errorf("of a group that is not there: %d", gone.Code)
	}
	if odd := get(paths, "/openapi/v3/api/v1", "text/html"); odd.Code != http.StatusNotAcceptable {
		t.Errorf("as HTML: %d", odd.Code)
	}
}

func openAPI3Config() *common.OpenAPIV3Config {
	config := genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, openapinamer.NewDefinitionNamer(legacyscheme.Scheme))
	config.Info.Version = "v1.0" // without one there is no document in protobuf
	return config
}

// listing is a group and version with one path.
func listing(root, resource string, list any) *restful.WebService {
	service := new(restful.WebService).Path(root).Produces(restful.MIME_JSON)
	return service.Route(service.GET("/"+resource).Operation("list "+resource).Returns(http.StatusOK, "OK", list).
		To(func(*restful.Request, *restful.Response) {}))
}

func listOf(t *testing.T, paths http.Handler) map[string]string {
	t.Helper()
	answer := get(paths, "/openapi/v3", "application/json")
	var list handler3.OpenAPIV3Discovery
	if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
		t.Fatalf("the list: %d, %v", answer.Code, err)
	}
	at := map[string]string{}
	for name, document := range list.Paths {
		at[name] = document.ServerRelativeURL
	}
	return at
}

func get(paths http.Handler, url, accept string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.Header.Set("Accept", accept)
	paths.ServeHTTP(answer, r)
	return answer
}
