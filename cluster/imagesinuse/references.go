package imagesinuse

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// references is what stays of an object in memory.
type references struct {
	metav1.ObjectMeta
	images  []string
	volumes []string // those of images that are mounted as volumes
}

// trim is a cache.TransformFunc.
func trim(object any) (any, error) {
	spec, found := podSpec(object)
	if !found {
		return object, nil // already trimmed, or a tombstone
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	return &references{
		ObjectMeta: metav1.ObjectMeta{
			Name: accessor.GetName(), Namespace: accessor.GetNamespace(),
			UID: accessor.GetUID(), ResourceVersion: accessor.GetResourceVersion(),
		},
		images: imagesOf(spec), volumes: volumesOf(spec),
	}, nil
}

func podSpec(object any) (*corev1.PodSpec, bool) {
	switch o := object.(type) {
	case *corev1.Pod:
		return &o.Spec, true
	case *appsv1.Deployment:
		return &o.Spec.Template.Spec, true
	case *appsv1.StatefulSet:
		return &o.Spec.Template.Spec, true
	case *appsv1.DaemonSet:
		return &o.Spec.Template.Spec, true
	case *appsv1.ReplicaSet:
		return &o.Spec.Template.Spec, true
	case *batchv1.Job:
		return &o.Spec.Template.Spec, true
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template.Spec, true
	default:
		return nil, false
	}
}

// imagesOf are the references as the specification has them.
func imagesOf(spec *corev1.PodSpec) []string {
	var images []string
	for _, c := range spec.InitContainers {
		images = append(images, c.Image)
	}
	for _, c := range spec.Containers {
		images = append(images, c.Image)
	}
	for _, c := range spec.EphemeralContainers {
		images = append(images, c.Image)
	}
	return append(images, volumesOf(spec)...)
}

func volumesOf(spec *corev1.PodSpec) []string {
	var images []string
	for _, v := range spec.Volumes {
		if v.Image != nil {
			images = append(images, v.Image.Reference)
		}
	}
	return images
}
