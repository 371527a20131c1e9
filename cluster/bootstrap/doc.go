// Package bootstrap makes the objects that the API must have before the cluster
// can be used: the roles of Kubernetes itself and the two system priority
// classes, which kube-apiserver would make a second later, and what is ours, that
// is the rights of our own clients and the Service of the DNS. They are compared
// at each start; objects of others are never touched.
package bootstrap
