package busybox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/internal/ociarchive"
)

// Files are what programs expect of a small system: tools, users, names and certificates.
func Files(ctx context.Context, busybox, certificates string) ([]ociarchive.Entry, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	certs, err := os.ReadFile(certificates)
	if err != nil {
		return nil, err
	}
	applets, err := applets(ctx, busybox)
	if err != nil {
		return nil, err
	}
	entries := []ociarchive.Entry{
		{Name: "bin/", Mode: 0o755},
		{Name: "dev/", Mode: 0o755},
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/ssl/", Mode: 0o755},
		{Name: "etc/ssl/certs/", Mode: 0o755},
		{Name: "home/", Mode: 0o755},
		{Name: "proc/", Mode: 0o555},
		{Name: "root/", Mode: 0o700},
		{Name: "sbin/", Mode: 0o755},
		{Name: "sys/", Mode: 0o555},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/bin/", Mode: 0o755},
		{Name: "usr/sbin/", Mode: 0o755},
		{Name: "var/", Mode: 0o755},
		{Name: "var/tmp/", Mode: 0o1777},
		{Name: "bin/busybox", Mode: 0o755, Content: program},
		{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\ntty:x:5:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n")},
		{Name: "etc/nsswitch.conf", Mode: 0o644, Content: []byte("passwd: files\ngroup: files\nhosts: files dns\n")},
		{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")},
		{Name: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Content: certs},
	}
	for _, a := range applets {
		entries = append(entries, ociarchive.Entry{Name: a, Link: "/bin/busybox"})
	}
	return entries, nil
}

// applets are the paths that busybox has a program for, without a leading slash.
func applets(ctx context.Context, busybox string) ([]string, error) {
	out, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of busybox: %w", err)
	}
	names := strings.Fields(string(out))
	slices.Sort(names)
	known := []string{"bin/", "sbin/", "usr/bin/", "usr/sbin/"}
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		// An applet in a directory that the image has not, or busybox itself.
		return name == "bin/busybox" || !slices.ContainsFunc(known, func(dir string) bool {
			return strings.HasPrefix(name, dir)
		})
	}), nil
}
