#!/bin/sh
# build.sh NAME OUTPUT - build one program of the payload, or boxyard itself,
# with the versions that it shall show. Reads build/upstream.env.
set -eu
name=$1
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "$2")
cd "$root"
. build/upstream.env

export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
ldflags="-s -w"
tags="" gcflags=""

# set_variable IMPORT_PATH.VARIABLE VALUE
set_variable() { ldflags="$ldflags -X $1=$2"; }

# Upstream's builds put the commit where we put the tag: a module has no commit, and the tag names it.
moby() {
	set_variable github.com/moby/moby/v2/dockerversion.Version "$docker"
	set_variable github.com/moby/moby/v2/dockerversion.GitCommit "v$docker"
	set_variable github.com/moby/moby/v2/dockerversion.BuildTime "$docker_time"
}
containerd() {
	set_variable github.com/containerd/containerd/v2/version.Version "v$containerd"
	set_variable github.com/containerd/containerd/v2/version.Revision "v$containerd"
}
kubernetes() { . scripts/kubernetes-ldflags.sh; }
docker_cli() {
	set_variable github.com/docker/cli/cli/version.Version "$docker_cli"
	set_variable github.com/docker/cli/cli/version.GitCommit "v$docker_cli"
	set_variable github.com/docker/cli/cli/version.BuildTime "$docker_cli_time"
	# The module has no go.mod, so that Go would take it for the language of 1.16, with other loop variables than
	# upstream's own build has: the version is in its vendor.mod.
	source=$(scripts/module-dir.sh clients github.com/docker/cli)
	language=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$source/vendor.mod")
	gcflags="github.com/docker/cli/...=-lang=go$language"
}

case $name in
engine)
	directory=engine package=.
	moby
	containerd
	;;
cluster)
	directory=cluster package=.
	kubernetes
	set_variable github.com/coredns/coredns/coremain.GitCommit "v$coredns"
	set_variable go.etcd.io/etcd/api/v3/version.GitSHA "v$etcd"
	;;
docker)
	directory=clients package=./cmd/docker
	docker_cli
	;;
clients)
	directory=clients package=.
	docker_cli
	kubernetes
	set_variable github.com/docker/buildx/version.Version "v$buildx"
	set_variable github.com/docker/buildx/version.Revision "v$buildx"
	set_variable github.com/docker/compose/v5/internal.Version "v$compose"
	set_variable helm.sh/helm/v4/internal/version.version "v$helm"
	set_variable helm.sh/helm/v4/internal/version.gitCommit "v$helm"
	set_variable helm.sh/helm/v4/internal/version.gitTreeState clean
	;;
runc)
	# libseccomp is C; linked statically, so that the file runs on any host.
	export CGO_ENABLED=1
	directory=runtime package=github.com/opencontainers/runc
	tags="seccomp netgo osusergo static_build"
	ldflags="$ldflags -extldflags -static"
	set_variable main.gitCommit "v$runc"
	;;
containerd-shim-runc-v2)
	# As runc, whose library it is linked with.
	export CGO_ENABLED=1
	directory=runtime package=./shim
	tags="seccomp netgo osusergo static_build"
	ldflags="$ldflags -extldflags '-static $(scripts/shim-ldflags.sh)'"
	containerd
	;;
nft/nft)
	directory=. package=./cmd/nft
	;;
docker-proxy)
	directory=runtime package=github.com/moby/moby/v2/cmd/docker-proxy
	moby
	;;
cni/podnet)
	directory=runtime package=./podnet
	set_variable github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion "v$cni"
	;;
cni/bridge | cni/host-local | cni/portmap)
	case $name in
	cni/bridge) kind=main ;;
	cni/host-local) kind=ipam ;;
	cni/portmap) kind=meta ;;
	esac
	directory=runtime package=github.com/containernetworking/plugins/plugins/$kind/${name#cni/}
	set_variable github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion "v$cni"
	;;
pause)
	# -Wl,--build-id=none: nothing but the source decides the bytes.
	mkdir -p "$(dirname "$out")"
	exec gcc -std=gnu11 -Os -Wall -Wextra -Werror -static -s -Wl,--build-id=none \
		-DVERSION="\"$pause\"" -o "$out" runtime/pause/pause.c
	;;
boxyard)
	directory=. package=./cmd/boxyard
	set_variable github.com/boxyard/boxyard/internal/version.Version "$(cat build/version)"
	;;
*)
	echo "build.sh: unknown program $name" >&2
	exit 2
	;;
esac

cd "$directory"
exec go build -tags "$tags" -gcflags "$gcflags" -ldflags "$ldflags" -o "$out" "$package"
