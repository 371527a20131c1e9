#!/bin/bash
# build-compose-suite.sh DIRECTORY - build Compose's own end-to-end tests, at the clients' version of the module, into
# DIRECTORY/bin. They are built in a copy of the module (DIRECTORY/src), with upstream's own go.mod, because go
# does not build the tests of a dependency with what they need; and they run there, beside their files.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "$1")
# Without -trimpath: the tests find their files by the path of their source.
export GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0
source=$(scripts/module-dir.sh clients github.com/docker/compose/v5)

rm -rf "$out/src" "$out/bin"
mkdir -p "$out/bin"
cp -r "$source" "$out/src"
chmod -R u+w "$out/src"
cd "$out/src"
go test -c -tags e2e -vet=off -ldflags "-s -w" -o "$out/bin/e2e.test" ./pkg/e2e
# A provider of services, by which Compose's documents show how one is made.
go build -ldflags "-s -w" -o bin/build/example-provider ./docs/examples/provider.go
touch "$out/bin.stamp"
