package controlplane

import (
	"errors"
	"reflect"
	_ "unsafe" // go:linkname

	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"github.com/boxyard/boxyard/cluster/internal/unexported"
)

// newStorageClient is where kube-apiserver gets its clients of etcd from, one for each kind of object
// (k8s.io/apiserver pkg/storage/storagebackend/factory/etcd3.go).
//
//go:linkname newStorageClient k8s.io/apiserver/pkg/storage/storagebackend/factory.newETCD3Client
var newStorageClient func(storagebackend.TransportConfig) (*kubernetes.Client, error) //nolint:gochecknoglobals // it is upstream's

// StoreDirectly makes a kube-apiserver that starts after it call the etcd of this process by functions (etcd's package
// v3client), without connections, TLS and gRPC. What the calls do is etcd's as before.
func StoreDirectly(server *etcdserver.EtcdServer) {
	newStorageClient = func(c storagebackend.TransportConfig) (*kubernetes.Client, error) {
		client := v3client.New(server)
		// By them kube-apiserver tells one etcd from another, and asks each what it is able to do.
		endpoints := unexported.Field[[]string](reflect.ValueOf(client), "endpoints")
		if endpoints == nil {
			return nil, errors.New("etcd's client has no endpoints where they were expected; set withoutFastPaths: [storage]")
		}
		*endpoints = c.ServerList
		k := &kubernetes.Client{Client: client}
		k.Kubernetes = k
		return k, nil
	}
}
