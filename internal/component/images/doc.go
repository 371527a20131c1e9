// Package images makes one image store fit for two engines. The mirror lets
// Kubernetes find what Docker built or loaded on this machine, with no registry
// and no copy. The guard keeps the images that pods need, because Docker, which
// knows nothing of pods, may delete their records. Pins keep the kubelet's
// image collection from what Docker needs.
//
// It talks to containerd only, in the namespace that Docker and CRI share. It
// imports no other component; images-in-use.json comes from the cluster process.
package images
