#!/bin/sh
# module-dir.sh DIRECTORY MODULE - where the source of a module is that the go.mod in DIRECTORY requires. Downloads it
# first: go list gives nothing for a module that is not in the cache.
set -eu
cd "$(dirname "$0")/../$1"
export GOWORK=off
go mod download "$2"
go list -m -f '{{.Dir}}' "$2"
