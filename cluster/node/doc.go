// Package node runs the kubelet and kube-proxy in this process. Their
// configurations are built by pure functions, written beside the sockets for
// people to read, and given to upstream's packages as files.
package node
