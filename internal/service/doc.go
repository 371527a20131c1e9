// Package service finds the addresses that reach a Kubernetes Service from this
// host now. It asks the API with plain requests: the typed client would double
// the program for three objects.
package service
