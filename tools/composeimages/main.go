// Command composeimages makes the images that Compose's own end-to-end tests pull: stand-ins from files and Debian
// packages, under the names of those that upstream has on Docker Hub.
//
//	composeimages -hello build/moby/hello -tools build/compose/tools.tar -created 2026-11-01T00:00:00Z -o images.tar
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/busybox"
	"github.com/boxyard/boxyard/internal/ociarchive"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "composeimages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("composeimages", flag.ContinueOnError)
	var (
		hello   = flags.String("hello", "", "the program of hello-world")
		tools   = flags.String("tools", "", "a tar archive of Debian packages: nginx, curl, bash")
		created = flags.String("created", "", "the time that the images bear, as RFC 3339")
		out     = flags.String("o", "", "the archive")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	when, err := time.Parse(time.RFC3339, *created)
	if err != nil {
		return fmt.Errorf("-created: %w", err)
	}
	archive := ociarchive.New("amd64", when)
	if err := add(ctx, archive, *hello, *tools); err != nil {
		return err
	}
	return archive.WriteFile(*out)
}

// add adds all images. The tags of one name differ in a file.
func add(ctx context.Context, archive *ociarchive.Archive, hello, tools string) error {
	files, err := busybox.Files(ctx, "/bin/busybox", "/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return err
	}
	shell, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	small, err := archive.Layer(append(files, more(shell)...))
	if err != nil {
		return err
	}
	program, err := os.ReadFile(hello)
	if err != nil {
		return err
	}
	greeting, err := archive.Layer([]ociarchive.Entry{{Name: "hello", Mode: 0o755, Content: program}})
	if err != nil {
		return err
	}
	packages, err := os.ReadFile(tools)
	if err != nil {
		return err
	}
	config := func(command ...string) ocispec.ImageConfig {
		return ocispec.ImageConfig{Cmd: command, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	}
	if err := archive.Add("docker.io/library/hello-world:latest", config("/hello"), greeting); err != nil {
		return err
	}
	for _, version := range []string{"latest", "3.12", "3.13.12", "3.14", "3.15", "3.18", "3.19", "3.20", "3.22"} {
		release, err := archive.Layer([]ociarchive.Entry{
			{Name: "etc/alpine-release", Mode: 0o644, Content: []byte(version + "\n")},
			{Name: "etc/os-release", Mode: 0o644, Content: []byte("NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=" + version + "\n")},
		})
		if err != nil {
			return err
		}
		if err := archive.Add("docker.io/library/alpine:"+version, config("/bin/sh"), small, release); err != nil {
			return err
		}
	}
	for _, name := range []string{"library/busybox:latest", "library/busybox:1.35.0"} {
		if err := archive.Add("docker.io/"+name, config("sh"), small); err != nil {
			return err
		}
	}
	for _, name := range []string{"library/bash:latest", "library/debian:latest"} {
		if err := archive.Add("docker.io/"+name, config("bash"), small, packages); err != nil {
			return err
		}
	}
	curl := config()
	curl.Entrypoint = []string{"curl"}
	if err := archive.Add("docker.io/alpine/curl:latest", curl, small, packages); err != nil {
		return err
	}
	site, err := archive.Layer([]ociarchive.Entry{
		{Name: "usr/share/nginx/html/", Mode: 0o755},
		{Name: "usr/share/nginx/html/index.html", Mode: 0o644, Content: []byte(welcome)},
		{Name: "etc/nginx/conf.d/", Mode: 0o755},
		{Name: "etc/nginx/nginx.conf", Mode: 0o644, Content: []byte(nginxConf)},
		{Name: "etc/nginx/conf.d/default.conf", Mode: 0o644, Content: []byte(defaultSite)},
		{Name: "run/", Mode: 0o755},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "var/log/nginx/access.log", Link: "/dev/stdout"},
		{Name: "var/log/nginx/error.log", Link: "/dev/stderr"},
		{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\nnginx:x:101:101:nginx:/:/bin/false\n")},
		{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nnginx:x:101:\n")},
	})
	if err != nil {
		return err
	}
	serve := config("nginx", "-g", "daemon off;")
	serve.StopSignal = "SIGQUIT"
	serve.ExposedPorts = map[string]struct{}{"80/tcp": {}}
	for _, tag := range []string{"latest", "alpine"} {
		if err := archive.Add("docker.io/library/nginx:"+tag, serve, small, packages, site); err != nil {
			return err
		}
	}
	return nil
}

// more is what the images of upstream have beside Debian's busybox.
func more(shell []byte) []ociarchive.Entry {
	return []ociarchive.Entry{
		{Name: "run/", Mode: 0o755},
		{Name: "var/run", Link: "/run"},
		{Name: "usr/local/", Mode: 0o755},
		{Name: "usr/local/bin/", Mode: 0o755},
		// In /bin there is what Debian's packages have there, where they are in the image.
		{Name: "usr/local/bin/busybox", Mode: 0o755, Content: shell},
		{Name: "usr/local/bin/printenv", Mode: 0o755, Content: []byte(printenv)},
		{Name: "usr/local/bin/nc", Mode: 0o755, Content: []byte(netcat)},
	}
}

const (
	printenv = `#!/bin/sh
[ $# -gt 0 ] || exec env
code=0
for name; do
	if value=$(env | grep "^$name="); then echo "${value#*=}"; else code=1; fi
done
exit $code
`
	// netcat takes HOST:PORT as its last argument.
	netcat = `#!/bin/sh
for last; do :; done
case $last in
*:*)
	for argument; do
		shift
		[ "$argument" = "$last" ] || set -- "$@" "$argument"
	done
	set -- "$@" "${last%:*}" "${last##*:}"
	;;
esac
exec busybox nc "$@"
`
	welcome   = "<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n"
	nginxConf = `user nginx;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 256; }
http {
	types { text/html html; }
	default_type application/octet-stream;
	access_log /dev/stdout;
	include /etc/nginx/conf.d/*.conf;
}
`
	defaultSite = `server {
	listen 80;
	location / {
		root /usr/share/nginx/html;
		index index.html;
	}
}
`
)
