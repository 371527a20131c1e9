#!/bin/bash
# deps.sh [vm|moby-suite] - install the Debian packages that this host lacks. Says nothing when all are there.
set -euo pipefail

packages=(nftables netbase libseccomp-dev gcc libc6-dev pkg-config make git busybox-static tini ca-certificates
	zstd iproute2 procps util-linux curl)
if [ "${1:-}" = vm ]; then
	packages+=(qemu-system-x86 debootstrap openssh-client e2fsprogs)
fi

if [ "${1:-}" = moby-suite ]; then
	packages+=(iputils-ping)
fi

if ! command -v go >/dev/null; then
	echo "deps: Go is missing; see https://go.dev/doc/install" >&2
	exit 1
fi
if ! command -v dpkg-query >/dev/null; then
	echo "deps: not a Debian; these packages must be there: ${packages[*]}" >&2
	exit 0
fi

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "deps: missing: ${missing[*]}; try: sudo make deps" >&2
	exit 1
fi

echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null; }
# The lists may be old or absent, as in a fresh container.
install || { apt-get update -qq && install; }
