package main

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/ociarchive"
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// recipe is what an image consists of.
type recipe struct {
	config ocispec.ImageConfig
	layers []ociarchive.Layer
}

// with is the recipe with layers on top.
func (r recipe) with(config ocispec.ImageConfig, layers ...ociarchive.Layer) recipe {
	config.Env = []string{searchPath}
	return recipe{config: config, layers: append(append([]ociarchive.Layer{}, r.layers...), layers...)}
}

// kitchen knows where the ingredients are. The first error stays, and ends it.
type kitchen struct {
	archive                 *ociarchive.Archive
	programs, roots, source string

	err error
}

// recipes has the images by the last part of their names. They follow the Dockerfiles in upstream's test/images.
func (k *kitchen) recipes(small []ociarchive.Entry) (map[string]recipe, error) {
	base := recipe{}.with(ocispec.ImageConfig{Cmd: []string{"sh"}}, k.layer(small...), k.layer(allInBin(small)...), k.root("shell"),
		k.program("bin/sh", 0o755, "sh")) // e2e/sh says why
	tools := base.with(ocispec.ImageConfig{Cmd: []string{"bash"}}, k.root("tools"), k.layer(
		// Busybox' own shell would take its own nc and the like for those in PATH.
		ociarchive.Entry{Name: "bin/sh", Link: "bash"},
		// What Debian leaves to its system of alternatives.
		ociarchive.Entry{Name: "bin/nc", Link: "nc.openbsd"},
		ociarchive.Entry{Name: "usr/bin/nc", Link: "/bin/nc.openbsd"},
	))
	agnhost := tools.with(ocispec.ImageConfig{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}}, k.layer(k.agnhost()...))
	sea := func(animal string) recipe {
		return agnhost.with(ocispec.ImageConfig{Entrypoint: []string{"/agnhost"}, Cmd: []string{"test-webserver"}}, k.layer(
			k.file(animal+".jpg", 0o644, filepath.Join(k.source, "test/images", animal, "html", animal+".jpg")),
			k.file("data.json", 0o644, filepath.Join(k.source, "test/images", animal, "html/data.json")),
		))
	}
	recipes := map[string]recipe{
		"agnhost":           agnhost,
		"busybox":           base,
		"etcd":              base.with(ocispec.ImageConfig{}, k.program("usr/local/bin/etcd", 0o755, "etcd")),
		"glibc-dns-testing": tools,
		"kitten":            sea("kitten"),
		"nautilus":          sea("nautilus"),
		"nginx": base.with(ocispec.ImageConfig{Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT"},
			k.root("nginx"), k.layer(nginxFiles()...)),
		"nonewprivs": base.with(ocispec.ImageConfig{Cmd: []string{"nnp"}}, k.program("usr/local/bin/nnp", 0o6755, "nonewprivs")),
		"nonroot":    base.with(ocispec.ImageConfig{User: "1234", Cmd: []string{"sh"}}),
		"pause": recipe{}.with(ocispec.ImageConfig{User: "65535:65535", Entrypoint: []string{"/pause"}},
			k.program("pause", 0o755, "pause")),
		"regression-issue-74839": base.with(ocispec.ImageConfig{Entrypoint: []string{"/regression-issue-74839"}},
			k.program("regression-issue-74839", 0o755, "regression-issue-74839")),
		"sample-apiserver": base.with(ocispec.ImageConfig{Entrypoint: []string{"/sample-apiserver"}},
			k.program("sample-apiserver", 0o755, "sample-apiserver")),
	}
	return recipes, k.err
}

// allInBin are the applets that Debian has elsewhere, in /bin, where the specs look for them: upstream's busybox
// has all of them there.
func allInBin(small []ociarchive.Entry) []ociarchive.Entry {
	var entries []ociarchive.Entry
	for _, e := range small {
		if directory, name := path.Split(e.Name); e.Link != "" && directory != "bin/" {
			entries = append(entries, ociarchive.Entry{Name: "bin/" + name, Link: e.Link})
		}
	}
	return entries
}

// agnhost are the files that its image has besides the tools.
func (k *kitchen) agnhost() []ociarchive.Entry {
	porter := filepath.Join(k.source, "test/images/agnhost/porter")
	entries := []ociarchive.Entry{
		k.file("agnhost", 0o755, filepath.Join(k.programs, "agnhost")),
		{Name: "agnhost-2", Link: "agnhost"},
		k.file("coredns", 0o755, filepath.Join(k.programs, "coredns")),
		k.file("localhost.crt", 0o644, filepath.Join(porter, "localhost.crt")),
		k.file("localhost.key", 0o644, filepath.Join(porter, "localhost.key")),
		{Name: "uploads/", Mode: 0o755},
		{Name: "usr/local/", Mode: 0o755},
		{Name: "usr/local/bin/", Mode: 0o755},
		{Name: "usr/local/bin/iperf", Link: "/usr/bin/iperf"},
		// A spec reads this file through an image volume, and wants to find the name of the system.
		{Name: "etc/os-release", Mode: 0o644, Content: []byte("NAME=\"Files of Debian, in place of Alpine Linux\"\nID=debian\n")},
		// A spec looks whether a user gets the groups that the image gives him.
		{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\n" +
			"user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n" +
			"nobody:x:65534:65534:nobody:/:/sbin/nologin\n")},
		{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:root\ntty:x:5:\n" +
			"user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\nnobody:x:65534:\n")},
	}
	return append(entries, k.registry()...)
}

// registry is what agnhost fake-registry-server serves as pause:testing.
func (k *kitchen) registry() []ociarchive.Entry {
	index, blobs, err := k.archive.Image(ocispec.ImageConfig{User: "65535:65535", Entrypoint: []string{"/pause"}},
		k.program("pause", 0o755, "pause"))
	if err != nil {
		k.fail(err)
		return nil
	}
	const top = "var/registry/pause/"
	sum := digest.FromBytes(index)
	entries := []ociarchive.Entry{
		{Name: top + "manifests/testing", Mode: 0o644, Content: []byte(sum.String() + "\n")},
		{Name: top + "manifests/" + nested(sum), Mode: 0o644, Content: index},
	}
	for d, blob := range blobs {
		kind := "blobs/"
		var manifest ocispec.Manifest
		if json.Unmarshal(blob, &manifest) == nil && manifest.MediaType == ocispec.MediaTypeImageManifest {
			kind = "manifests/"
		}
		entries = append(entries, ociarchive.Entry{Name: top + kind + nested(d), Mode: 0o644, Content: blob})
	}
	return entries
}

func nested(d digest.Digest) string {
	return strings.Join([]string{d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data"}, "/")
}

// nginxFiles is a configuration without what Debian's scripts would have set up.
func nginxFiles() []ociarchive.Entry {
	const configuration = `worker_processes 1;
error_log /dev/stderr notice;
pid /tmp/nginx.pid;
events { worker_connections 256; }
http {
	include /etc/nginx/mime.types;
	access_log /dev/stdout;
	server {
		listen 80;
		listen [::]:80;
		root /usr/share/nginx/html;
	}
}
`
	return []ociarchive.Entry{
		{Name: "etc/nginx/nginx.conf", Mode: 0o644, Content: []byte(configuration)},
		{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nwww-data:x:33:33::/var/www:/bin/false\n")},
		{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nnogroup:x:65534:\nwww-data:x:33:\n")},
		{Name: "usr/share/nginx/html/index.html", Mode: 0o644, Content: []byte("<h1>Welcome to nginx!</h1>\n")},
		{Name: "var/lib/nginx/", Mode: 0o777},
		{Name: "var/log/nginx/", Mode: 0o777},
	}
}

// program is a layer with one program.
func (k *kitchen) program(name string, mode int64, program string) ociarchive.Layer {
	return k.layer(k.file(name, mode, filepath.Join(k.programs, program)))
}

func (k *kitchen) file(name string, mode int64, path string) ociarchive.Entry {
	data, err := os.ReadFile(path)
	k.fail(err)
	return ociarchive.Entry{Name: name, Mode: mode, Content: data}
}

func (k *kitchen) root(name string) ociarchive.Layer {
	data, err := os.ReadFile(filepath.Join(k.roots, name+".tar"))
	k.fail(err)
	return data
}

func (k *kitchen) layer(entries ...ociarchive.Entry) ociarchive.Layer {
	layer, err := k.archive.Layer(entries)
	k.fail(err)
	return layer
}

func (k *kitchen) fail(err error) {
	if k.err == nil {
		k.err = err
	}
}
