package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisioner makes and removes the directories behind claims. It is safe for concurrent use.
type provisioner struct {
	node string
	dir  directory
}

var _ controller.Provisioner = (*provisioner)(nil)

// Provision implements controller.Provisioner. Its errors become events of the claim, and it is called again, with
// growing pauses, as long as the claim is there. The library refuses claims with volumeMode Block itself.
func (p *provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	const finished = controller.ProvisioningFinished
	if o.SelectedNodeName != "" && o.SelectedNodeName != p.node {
		return nil, finished, &controller.IgnoredError{Reason: "the pod is for node " + o.SelectedNodeName}
	}
	if err := refuse(o); err != nil {
		return nil, finished, err
	}
	size := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	if err := p.dir.fits(size); err != nil {
		return nil, finished, err
	}
	path, err := p.dir.create(dirName(o.PVC.Namespace, o.PVC.Name, o.PVName))
	if err != nil {
		return nil, finished, err
	}
	klog.FromContext(ctx).Info("Made the directory of a volume", "PVC", klog.KObj(o.PVC), "path", path)
	return p.volume(o, size, path), finished, nil
}

// refuse is for what a claim or its class may ask for and a directory is not.
func refuse(o controller.ProvisionOptions) error {
	spec := o.PVC.Spec
	if len(o.StorageClass.Parameters) > 0 {
		names := slices.Sorted(maps.Keys(o.StorageClass.Parameters))
		return fmt.Errorf("StorageClass %s has parameters (%s), and %s knows none", o.StorageClass.Name, strings.Join(names, ", "), Provisioner)
	}
	if spec.Selector != nil {
		return errors.New("the claim has a selector, which chooses among volumes that are there; for a new one leave it out")
	}
	if source := spec.DataSourceRef; source != nil {
		if snapshotOrClaim(source) {
			return fmt.Errorf("the claim is to begin as a copy (dataSource %s %s), and %s has neither snapshots nor clones", source.Kind, source.Name, Provisioner)
		}
		return &controller.IgnoredError{Reason: "a volume populator is to fill it: " + source.Kind}
	}
	return nil
}

func snapshotOrClaim(source *corev1.TypedObjectReference) bool {
	group := ""
	if source.APIGroup != nil {
		group = *source.APIGroup
	}
	return source.Kind == "PersistentVolumeClaim" && group == "" || source.Kind == "VolumeSnapshot" && group == "snapshot.storage.k8s.io"
}

func (p *provisioner) volume(o controller.ProvisionOptions, size resource.Quantity, path string) *corev1.PersistentVolume {
	reclaim := corev1.PersistentVolumeReclaimDelete
	if o.StorageClass.ReclaimPolicy != nil {
		reclaim = *o.StorageClass.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: size},
			// All of them: pods that share a volume are all on its node.
			AccessModes:                   o.PVC.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: reclaim,
			MountOptions:                  o.StorageClass.MountOptions,
			VolumeMode:                    new(corev1.PersistentVolumeFilesystem),
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.node},
				}},
			}}}},
		},
	}
}

// Delete implements controller.Provisioner. It removes only what Provision can have made: a PersistentVolume is
// what anyone with the right to create one has written.
func (p *provisioner) Delete(ctx context.Context, pv *corev1.PersistentVolume) error {
	if pv.Spec.Local == nil {
		return fmt.Errorf("volume %s has no local path: it was not made by %s", pv.Name, Provisioner)
	}
	if !onNode(pv, p.node) {
		return &controller.IgnoredError{Reason: "the volume is on another node"}
	}
	path := pv.Spec.Local.Path
	if filepath.Clean(path) != path || !strings.HasSuffix(path, "_"+pv.Name) {
		return fmt.Errorf("%s is not a directory that %s made for volume %s; remove the volume by hand: kubectl delete pv %s", path, Provisioner, pv.Name, pv.Name)
	}
	if err := p.dir.remove(path); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Removed the directory of a volume", "PV", pv.Name, "path", path)
	return nil
}

// onNode looks only for the affinity that Provision writes.
func onNode(pv *corev1.PersistentVolume, node string) bool {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return false
	}
	for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Key == corev1.LabelHostname && slices.Contains(e.Values, node) {
				return true
			}
		}
	}
	return false
}
