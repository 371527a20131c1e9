// Package pki owns the certificates of one instance: four certificate
// authorities (cluster, etcd, front proxy, images), the leaf certificates they
// sign, the service-account key, the encryption key of Secrets at rest, and the
// kubeconfigs that refer to them. It makes what is missing and renews leaves in
// time; it never replaces an authority or a key that stored data depends on.
//
// It knows nothing of components: they are given file names.
package pki
