package storage

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Provisioner is what a StorageClass of a user's own names to get our volumes.
const Provisioner = "boxyard/local"

const (
	defaultClass = "storageclass.kubernetes.io/is-default-class"
	describe     = "kubernetes.io/description"
)

// Classes are made where they are not there; `standard` is what kind, minikube and many manifests call theirs.
func Classes() []*storagev1.StorageClass {
	standard := class("standard", corev1.PersistentVolumeReclaimDelete, "A directory on this node; removed with its claim.")
	standard.Annotations[defaultClass] = "true"
	return []*storagev1.StorageClass{
		standard,
		class("standard-retain", corev1.PersistentVolumeReclaimRetain, "A directory on this node; kept when its claim is removed."),
	}
}

// class waits for the pod, so that one day the scheduler can choose among several nodes. A volume cannot grow:
// nothing keeps it from being larger than it says, so there is nothing to do.
func class(name string, reclaim corev1.PersistentVolumeReclaimPolicy, description string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: name, Annotations: map[string]string{describe: description}},
		Provisioner:          Provisioner,
		ReclaimPolicy:        &reclaim,
		VolumeBindingMode:    new(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: new(false),
	}
}
