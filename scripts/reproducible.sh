#!/bin/bash
# reproducible.sh - build bin/boxyard again from a copy of the tree in another
# directory, with an empty build cache, and compare it with the one that is here.
# REPRODUCIBLE_CACHE names a build cache to use instead, for a quick look at linking and packing.
set -euo pipefail
cd "$(dirname "$0")/.."
other=$(mktemp -d "${TMPDIR:-/tmp}/boxyard-reproducible-XXXXXX")
trap 'rm -rf "$other"' EXIT

# With the version of this tree: the copy has no git.
version=$(cat build/version)
mkdir "$other/tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$other/tree"
sed -i "2i echo $version; exit" "$other/tree/scripts/version.sh"

echo "building $version again in $other/tree"
GOCACHE=${REPRODUCIBLE_CACHE:-$other/cache} make -C "$other/tree" build

failed=0
for file in bin/boxyard build/boxyard $(cd build/payload && find . -type f -printf 'build/payload/%P\n' | sort); do
	here=$(sha256sum <"$file")
	there=$(sha256sum <"$other/tree/$file")
	if [ "$here" = "$there" ]; then
		echo "same      $file"
	else
		echo "DIFFERENT $file"
		failed=1
	fi
done
exit "$failed"
