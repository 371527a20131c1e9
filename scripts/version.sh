#!/bin/sh
# version.sh - Boxyard's version: the last tag and the commit. A tree without git has the tag's.
set -eu
cd "$(dirname "$0")/.."
git describe --tags --match 'v[0-9]*' --always --dirty 2>/dev/null |
	sed 's/^\([0-9a-f]\{7,\}\)/v0.1.0-\1/' | grep . || echo v0.1.0
