package controlplane

import (
	"context"
	"errors"
	"reflect"
	_ "unsafe" // go:linkname

	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"github.com/boxyard/boxyard/cluster/internal/unexported"
)

// newStorageClient is where kube-apiserver gets its clients of etcd from, one for each kind of object
// (k8s.io/apiserver pkg/storage/storagebackend/factory/etcd3.go).
//
//go:linkname newStorageClient k8s.io/apiserver/pkg/storage/storagebackend/factory.newETCD3Client
var newStorageClient func(storagebackend.TransportConfig) (*kubernetes.Client, error) //nolint:gochecknoglobals // it is upstream's

// storeDirectly makes a kube-apiserver that starts after it call this etcd by functions (etcd's package v3client), without
// connections, TLS and gRPC. What the calls do is etcd's as before. A client is there when etcd is.
func storeDirectly(ctx context.Context, etcd *Etcd) {
	newStorageClient = func(c storagebackend.TransportConfig) (*kubernetes.Client, error) {
		server, err := etcd.wait(ctx)
		if err != nil {
			return nil, err
		}
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
