#!/bin/sh
# shim-ldflags.sh - the linker's options by which runtime/shim/filter stands between runc and libseccomp (wrap.c there
# says what they do), as a value for -extldflags.
set -eu
options=
for function in rule_add_array rule_add_exact_array export_bpf; do
	options="$options -Wl,--wrap=seccomp_$function"
done
echo "${options# }"
