package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry is a file, a directory (no content, a slash at the end) or a link in a layer.
type entry struct {
	name    string
	mode    int64
	content []byte
	link    string
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func pauseConfig() ocispec.ImageConfig {
	return ocispec.ImageConfig{User: "65535:65535", Env: []string{searchPath}, Entrypoint: []string{"/pause"}}
}

func pauseFiles(program string) ([]entry, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return []entry{{name: "pause", mode: 0o755, content: data}}, nil
}

func baseConfig() ocispec.ImageConfig {
	return ocispec.ImageConfig{Env: []string{searchPath}, Cmd: []string{"sh"}}
}

// baseFiles are what programs expect of a small system: tools, users, names and certificates.
func baseFiles(ctx context.Context, busybox, certificates string) ([]entry, error) {
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
	entries := []entry{
		{name: "bin/", mode: 0o755},
		{name: "dev/", mode: 0o755},
		{name: "etc/", mode: 0o755},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "home/", mode: 0o755},
		{name: "proc/", mode: 0o555},
		{name: "root/", mode: 0o700},
		{name: "sbin/", mode: 0o755},
		{name: "sys/", mode: 0o555},
		{name: "tmp/", mode: 0o1777},
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/sbin/", mode: 0o755},
		{name: "var/", mode: 0o755},
		{name: "var/tmp/", mode: 0o1777},
		{name: "bin/busybox", mode: 0o755, content: program},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\ntty:x:5:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n")},
		{name: "etc/nsswitch.conf", mode: 0o644, content: []byte("passwd: files\ngroup: files\nhosts: files dns\n")},
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: certs},
	}
	for _, a := range applets {
		entries = append(entries, entry{name: a, link: "/bin/busybox"})
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
