// Package reach is the words for how a thing can be reached from this host. It
// knows neither Kubernetes nor Docker, and imports nothing of Boxyard.
package reach
