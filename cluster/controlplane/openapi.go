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

// describeWhenAsked has kube-apiserver write each of its OpenAPI documents for the first request that asks for it.
// Upstream writes them before the server serves, and keeps them.
//
// It changes the configuration of the server, which is complete when the server is made, and returns what adds the
// handlers to the chain of servers, before that is prepared to run.
func describeWhenAsked(kube *genericapiserver.Config) func(chain *genericapiserver.GenericAPIServer) error {
	kube.SkipOpenAPIInstallation = true // the servers before and behind it have their own
	return func(chain *genericapiserver.GenericAPIServer) error {
		// The chain is the aggregator's server, then kube-apiserver's own, then that of custom resources.
		server, ok := chain.NextDelegate().(*genericapiserver.GenericAPIServer)
		if !ok {
			return fmt.Errorf("the aggregator's next server is a %T, not kube-apiserver", chain.NextDelegate())
		}
		serveOpenAPI2(kube.OpenAPIConfig, server.Handler.GoRestfulContainer, server.Handler.NonGoRestfulMux)
		serveOpenAPI3(kube.OpenAPIV3Config, server.Handler.GoRestfulContainer, server.Handler.NonGoRestfulMux)
		return nil
	}
}

// serveOpenAPI2 is InstallV2 of k8s.io/apiserver/pkg/server/routes, which writes the document at once.
func serveOpenAPI2(config *common.Config, routes *restful.Container, paths *mux.PathRecorderMux) {
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
