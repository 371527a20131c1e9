#!/bin/bash
# debian-root.sh [-n] OUTPUT PACKAGE... - a tar archive of the files of these Debian packages and of all that they
# depend on (-n: not of that). Nothing is installed and no package's script runs. Essential packages come only
# where one depends on them.
set -euo pipefail
alone=
if [ "$1" = -n ]; then
	alone=yes
	shift
fi
out=$(realpath -m "$1")
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/archives/partial" "$work/root" "$(dirname "$out")"
: >"$work/status" # to apt, nothing is installed yet

download() {
	if [ "$alone" ]; then
		(cd "$work/archives" && apt-get download -qq -o APT::Sandbox::User=root "$@") </dev/null >"$work/log" 2>&1
		return
	fi
	apt-get install -qq -y --no-install-recommends --download-only \
		-o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/archives" \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root "$@" </dev/null >"$work/log" 2>&1
}
# The lists may be old or absent, as in a fresh container.
download "$@" || { apt-get update -qq && download "$@"; } || { cat "$work/log" >&2; exit 1; }

for package in "$work"/archives/*.deb; do
	dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$work/root"
done
cd "$work/root"
rm -rf usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/lintian
# Where the packages have /usr only, the loader is still asked for by its old name.
for name in bin sbin lib lib64; do
	[ -e "$name" ] || [ ! -e "usr/$name" ] || ln -s "usr/$name" "$name"
done
tar -c --sort=name --mtime=@0 --numeric-owner -f "$out.new" .
mv "$out.new" "$out"
