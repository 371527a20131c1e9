// Package cluster is the part `cluster`: etcd, the Kubernetes control plane, the
// kubelet and kube-proxy in one process of the payload. It writes cluster.json,
// which that process decodes strictly, and watches its status socket.
//
// It shares no code with the module cluster/: testdata/cluster.json is checked
// by the tests of both.
package cluster
