#!/bin/bash
# build-bench.sh - the Debian packages of the benchmark's peers and of wrk, unpacked into build/bench. Nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

# unpack NAME PACKAGE... - with /bin, /sbin and /lib below /usr, as on every Debian since 12.
unpack() {
	local dir=build/bench/$1
	scripts/debian-root.sh "$dir.tar" "${@:2}"
	rm -rf "$dir"
	mkdir -p "$dir"/usr/{bin,sbin,lib,lib64} "$dir"/etc
	for name in bin sbin lib lib64; do ln -s usr/$name "$dir/$name"; done
	tar -x --keep-directory-symlink -f "$dir.tar" -C "$dir"
	rm "$dir.tar"
	# What update-alternatives would do.
	[ -e "$dir/usr/sbin/xtables-nft-multi" ] || return 0
	for name in iptables ip6tables; do
		for kind in "" -save -restore; do ln -sf $name-nft$kind "$dir/usr/sbin/$name$kind"; done
	done
}

unpack iptables iptables
unpack docker.io docker.io
unpack wrk wrk
unpack podman podman runc conmon netavark aardvark-dns iptables
