#!/bin/sh
# build-e2e.sh NAME OUTPUT - build one program of the module e2e: upstream's specs, what runs them, and what
# is in their images. Reads build/upstream.env. Apart from build.sh, so that the payload does not depend on it.
set -eu
name=$1
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "$2")
cd "$root"
. build/upstream.env

export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
. scripts/kubernetes-ldflags.sh

case $name in
e2e.test) package=k8s.io/kubernetes/test/e2e ;;
ginkgo) package=github.com/onsi/ginkgo/v2/ginkgo ;;
coredns) package=./coredns ;;
etcd) package=go.etcd.io/etcd/server/v3 ;;
sample-apiserver) package=k8s.io/sample-apiserver ;;
agnhost | nonewprivs | regression-issue-74839) package=k8s.io/kubernetes/test/images/$name ;;
*)
	echo "build-e2e.sh: unknown program $name" >&2
	exit 2
	;;
esac

cd e2e
if [ "$name" = e2e.test ]; then
	# Upstream's specs are the test of a package.
	exec go test -c -vet=off -ldflags "$ldflags" -o "$out" "$package"
fi
exec go build -ldflags "$ldflags" -o "$out" "$package"
