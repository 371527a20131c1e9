// Package kube is kubectl and helm, upstream's own command trees. What it adds
// is the choice of the cluster: Boxyard's, unless the user chose another.
package kube
