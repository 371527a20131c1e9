// Package metrics is the resource metrics API, metrics.k8s.io/v1beta1: what
// `kubectl top` and HorizontalPodAutoscalers ask. Collecting, keeping and
// answering are metrics-server's packages; ours is where they are put: into
// kube-apiserver itself, which is in the same process. So there is no second
// listener, no second set of certificates and of watches, and the API is never
// there without it (docs/adr/0020).
package metrics
