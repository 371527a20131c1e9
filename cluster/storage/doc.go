// Package storage makes volumes of directories of this node: a provisioner for
// the StorageClasses `standard`, which is the default, and `standard-retain`,
// on the library that the provisioners of the Kubernetes project stand on.
//
// A volume is one directory, bound to this node, and a PersistentVolume with a
// `local` source, so that the kubelet applies fsGroup to it and reports its use.
// A directory has no size of its own: what a claim asks for is what is reported,
// and the file system's size is the limit (docs/adr/0019).
package storage
