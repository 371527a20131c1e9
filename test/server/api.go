package main

import "net/http"

// registerAPI serves the group tide.boxyard.test with one read-only resource: what kube-aggregator and a client's
// discovery ask for, and a list.
func registerAPI(mux *http.ServeMux) {
	const group, version = "tide.boxyard.test", "v1"
	const groupVersion = group + "/" + version
	mux.HandleFunc("GET /apis/"+groupVersion, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": groupVersion,
			"resources": []any{map[string]any{
				"name": "tides", "singularName": "tide", "namespaced": false, "kind": "Tide", "verbs": []string{"get", "list"},
			}},
		})
	})
	tide := map[string]any{
		"kind": "Tide", "apiVersion": groupVersion,
		"metadata": map[string]any{"name": "high"}, "spec": map[string]any{"metres": 4},
	}
	mux.HandleFunc("GET /apis/"+groupVersion+"/tides", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"kind": "TideList", "apiVersion": groupVersion, "metadata": map[string]any{}, "items": []any{tide}})
	})
	mux.HandleFunc("GET /apis/"+groupVersion+"/tides/high", func(w http.ResponseWriter, _ *http.Request) { answer(w, tide) })
}
