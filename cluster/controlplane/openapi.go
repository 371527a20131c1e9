package controlplane

import (
	"fmt"

	"github.com/emicklei/go-restful/v3"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/cached"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// describeWhenAsked has kube-apiserver write its part of the OpenAPI document of version 2 for the first request that
// asks for it. Upstream writes it before the server serves, and keeps it. Today's clients ask for version 3.
//
// It takes the document's configuration out of that of the server, before this is completed, and returns what adds the
// handler to the chain of servers, before that is prepared to run.
func describeWhenAsked(kube *genericapiserver.Config) func(chain *genericapiserver.GenericAPIServer) error {
	config := kube.OpenAPIConfig // the servers before and behind it have their own pointers to it, and complete it
	kube.OpenAPIConfig = nil
	return func(chain *genericapiserver.GenericAPIServer) error {
		// The chain is the aggregator's server, then kube-apiserver's own, then that of custom resources.
		server, ok := chain.NextDelegate().(*genericapiserver.GenericAPIServer)
		if !ok {
			return fmt.Errorf("the aggregator's next server is a %T, not kube-apiserver", chain.NextDelegate())
		}
		serveOpenAPI(config, server.Handler.GoRestfulContainer, server.Handler.NonGoRestfulMux)
		return nil
	}
}

// serveOpenAPI is InstallV2 of k8s.io/apiserver/pkg/server/routes, which writes the document at once.
func serveOpenAPI(config *common.Config, routes *restful.Container, paths *mux.PathRecorderMux) {
	document := cached.Once(cached.Func(func() (*spec.Swagger, string, error) {
		written, err := builder.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices(routes.RegisteredWebServices()), config)
		if err != nil {
			return nil, "", fmt.Errorf("write the OpenAPI document of version 2: %w", err)
		}
		written.Definitions = handler.PruneDefaults(written.Definitions)
		return written, "never-changes", nil
	}))
	handler.NewOpenAPIServiceLazy(document).RegisterOpenAPIVersionedService("/openapi/v2", paths)
}
