// Command server is what the tests of workloads run in pods, built static into
// an image of its own: a gRPC health service, an admission webhook, a conversion
// webhook and a tiny aggregated API. It speaks JSON by hand, so that it stays
// small and needs none of Kubernetes' packages.
//
//	server grpc      health on port 50051: "" and "up" serve, "down" does not
//	server https     webhooks and the API on port 8443, with /tls/tls.crt and tls.key
package main
