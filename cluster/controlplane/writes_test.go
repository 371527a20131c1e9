package controlplane

import (
	"net/http"
	"net/http/httptest"
	"testing"

	genericapiserver "k8s.io/apiserver/pkg/server"
)

func TestWritesAreTold(t *testing.T) {
	const pods, lease = "/api/v1/namespaces/default/pods", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node"
	told := 0
	c := &genericapiserver.Config{
		BuildHandlerChainFunc: func(api http.Handler, _ *genericapiserver.Config) http.Handler { return api },
	}
	tellOfWrites(c, func() { told++ })
	served := 0
	handler := c.BuildHandlerChainFunc(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), c)
	for _, request := range []struct {
		method, path string
		tells        bool
	}{
		{http.MethodPost, pods, true},
		{http.MethodPatch, pods + "/web", true},
		{http.MethodPut, pods + "/web/status", true},
		{http.MethodDelete, pods + "/web", true},
		{http.MethodGet, pods + "?watch=true", false},
		{http.MethodPut, lease, false},
	} {
		told, served = 0, 0
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), request.method, request.path, nil))
		if (told == 1) != request.tells || served != 1 {
			t.Errorf("%s %s: told %d times, served %d times", request.method, request.path, told, served)
		}
	}
}
