// Package ociarchive writes container images as one OCI image layout in a tar
// archive, which `docker load` and containerd read. The same input gives the
// same bytes. It imports nothing of Boxyard.
package ociarchive
