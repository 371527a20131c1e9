#!/bin/bash
# build-moby-suite.sh DIRECTORY - build moby's own integration tests, at the engine's version of the module, into
# DIRECTORY/bin. They are built in a copy of the module (DIRECTORY/src), with upstream's own go.mod, because go
# does not build the tests of a dependency with what they need; and they run there, beside their files.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "$1")
export GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0
source=$(scripts/module-dir.sh engine github.com/moby/moby/v2)

rm -rf "$out/src" "$out/bin"
mkdir -p "$out/bin"
cp -r "$source" "$out/src"
chmod -R u+w "$out/src"
cd "$out/src"
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./integration/...); do
	name=${package#*/integration/}
	go test -c -vet=off -ldflags "-s -w" -o "$out/bin/${name//\//-}.test" "$package"
done
touch "$out/bin.stamp"
