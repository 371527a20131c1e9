#!/bin/sh
# versions.sh - the versions of what Boxyard carries, as the go.mod files have
# them, in lines NAME=VALUE that a shell can read. The only place that knows
# which module is which program.
set -eu
cd "$(dirname "$0")/.."
export GOWORK=off GOFLAGS=-mod=readonly

# module NAME DIRECTORY MODULE - the version without its "v", and the time of its release.
module() {
	line=$(cd "$2" && go list -m -f '{{.Version}} {{if .Time}}{{.Time.Format "2006-01-02T15:04:05Z07:00"}}{{end}}' "$3")
	version=${line%% *}
	version=${version#v}
	printf '%s=%s\n%s_time=%s\n' "$1" "${version%+incompatible}" "$1" "${line#* }"
}

module docker engine github.com/moby/moby/v2
module containerd engine github.com/containerd/containerd/v2
module buildkit engine github.com/moby/buildkit
module distribution engine github.com/distribution/distribution/v3
module kubernetes cluster k8s.io/kubernetes
module etcd cluster go.etcd.io/etcd/server/v3
module coredns cluster github.com/coredns/coredns
module docker_cli clients github.com/docker/cli
module buildx clients github.com/docker/buildx
module compose clients github.com/docker/compose/v5
module kubectl clients k8s.io/kubectl
module helm clients helm.sh/helm/v4
module runc runtime github.com/opencontainers/runc
module shim runtime github.com/containerd/containerd/v2
module docker_proxy runtime github.com/moby/moby/v2
module cni runtime github.com/containernetworking/plugins

# Ours: raise pause when runtime/pause changes. The images bear one fixed time, so that they are reproducible.
echo pause=1.0
echo images_time=2026-11-01T00:00:00Z
