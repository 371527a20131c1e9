#!/bin/sh
# build-bench-kubernetes.sh DIRECTORY - upstream's Kubernetes for the benchmark, each component an executable of its
# own as upstream releases them. The components come from the module cluster, so that they are of the same sources as
# Boxyard's, and kubeadm from the module e2e, because the payload needs nothing of it. Reads build/upstream.env.
set -eu
cd "$(dirname "$0")/.."
out=$(realpath -m "$1")
. build/upstream.env

export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
. scripts/kubernetes-ldflags.sh
ldflags="$ldflags -X go.etcd.io/etcd/api/v3/version.GitSHA=v$etcd"
ldflags="$ldflags -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v$cni"

# build MODULE NAME PACKAGE
build() { (cd "$1" && go build -ldflags "$ldflags" -o "$out/$2" "$3"); }

for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
	build cluster $name k8s.io/kubernetes/cmd/$name
done
build cluster etcd go.etcd.io/etcd/server/v3
build e2e kubeadm k8s.io/kubernetes/cmd/kubeadm
# The payload may have others: it has what Boxyard's configuration needs, and containerd's default is to start one for lo.
for plugin in main/bridge ipam/host-local meta/portmap main/loopback; do
	build runtime "cni/${plugin#*/}" github.com/containernetworking/plugins/plugins/$plugin
done
