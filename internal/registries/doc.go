// Package registries reads what a user says of registries: mirrors, plain HTTP,
// certificates, headers. The one place for it is /etc/docker/certs.d, in the forms
// that dockerd, BuildKit and containerd have for it: a directory for each
// registry, with containerd's hosts.toml or with Docker's certificate files.
// dockerd reads that directory itself, at each pull and push. For the kubelet's
// pulls this package derives another one, which has Boxyard's image mirror in
// front, and for `docker login`, which looks at neither, the list of insecure
// registries.
//
// It imports nothing of Boxyard. The form is containerd's
// (core/remotes/docker/config/hosts.go, docs/hosts.md there).
package registries
