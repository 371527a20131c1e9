package controlplane

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/emicklei/go-restful/v3"
	corev1 "k8s.io/api/core/v1"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

func TestOpenAPI2IsUpstreamsWrittenWhenAsked(t *testing.T) {
	asked := 0
	definitions := func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		asked++
		return openapi.GetOpenAPIDefinitions(ref)
	}
	config := genericapiserver.DefaultOpenAPIConfig(definitions, openapinamer.NewDefinitionNamer(legacyscheme.Scheme))
	service := new(restful.WebService).Path("/api/v1").Produces(restful.MIME_JSON)
	service.Route(service.GET("/pods").Operation("listPods").Returns(http.StatusOK, "OK", corev1.PodList{}).
		To(func(*restful.Request, *restful.Response) {}))
	container := restful.NewContainer().Add(service)

	ours := mux.NewPathRecorderMux("ours")
	serveOpenAPI2(config, container, ours)
	if asked != 0 {
		t.Errorf("the document was written before anybody asked for it")
	}
	got := document(t, ours)
	if document(t, ours); asked != 1 {
		t.Errorf("the document was written %d times for two requests", asked)
	}
	upstreams := mux.NewPathRecorderMux("upstream's")
	routes.OpenAPI{Config: config}.InstallV2(container, upstreams)
	if want := document(t, upstreams); got != want || len(got) < 10_000 {
		t.Errorf("the document has %d bytes, upstream's %d:\n%.500s\n%.500s", len(got), len(want), got, want)
	}
}

func document(t *testing.T, paths http.Handler) string {
	t.Helper()
	answer := httptest.NewRecorder()
	paths.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/openapi/v2", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("/openapi/v2 answers %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}
