#!/bin/bash
# lint.sh - look at formatting, go.mod and code of each module.
# LINT=full runs every linter everywhere. Otherwise those that look into all
# dependencies leave out the other modules: Kubernetes and moby cost them minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0

GOBIN=$PWD/build/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
linter=$PWD/build/tools/golangci-lint
config=$PWD/.golangci.yml
failed=0

step() { # step MODULE COMMAND...: run it there, go on when it fails
	local module=$1
	shift
	echo "lint: $module: ${*/#$linter/golangci-lint}"
	(cd "$module" && "$@") || failed=1
}

for module in . engine cluster clients runtime e2e; do
	step "$module" go mod tidy -diff
	step "$module" go mod verify
	light=(--disable staticcheck,nilnesserr,unparam)
	if [ "$module" = . ] || [ "${LINT:-}" = full ]; then
		light=()
	fi
	lint=("$linter" run --config "$config" "${light[@]}")
	if [ "$module" = runtime ]; then
		# The shim is linked with runc's library, which is partly C.
		lint=(env CGO_ENABLED=1 "${lint[@]}" --build-tags seccomp)
	fi
	step "$module" "${lint[@]}" ./...
done
exit "$failed"
