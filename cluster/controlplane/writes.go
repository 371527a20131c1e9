package controlplane

import (
	"net/http"
	"strings"

	genericapiserver "k8s.io/apiserver/pkg/server"
)

// leases are written by those who hold them, every few seconds.
const leases = "/apis/coordination.k8s.io/"

// tellOfWrites has a server call f before each request that is to change something.
func tellOfWrites(c *genericapiserver.Config, f func()) {
	build := c.BuildHandlerChainFunc
	c.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		next := build(api, c)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if writes(r) {
				f()
			}
			next.ServeHTTP(w, r)
		})
	}
}

func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !strings.HasPrefix(r.URL.Path, leases)
}
