// Package registries makes what the user says of registries in
// /etc/docker/certs.d true for the kubelet's pulls and for `docker login`, and
// follows its changes. It owns the directory that containerd's CRI reads, in which
// Boxyard's image mirror comes before what the user has. The forms are package
// internal/registries'; dockerd reads the user's directory by itself.
package registries
