package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/golden"
)

const (
	uid    = "0b7a8c1e-4f2d-4c3b-9a5e-1d2c3b4a5f6e"
	volume = "pvc-" + uid
)

func claim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data", UID: types.UID(uid), Annotations: map[string]string{
			"volume.kubernetes.io/storage-provisioner": Provisioner,
			"volume.kubernetes.io/selected-node":       "laptop",
		}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: new("standard"),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func options(change func(*controller.ProvisionOptions)) controller.ProvisionOptions {
	o := controller.ProvisionOptions{StorageClass: Classes()[0], PVName: volume, PVC: claim(), SelectedNodeName: "laptop"}
	if change != nil {
		change(&o)
	}
	return o
}

func TestProvisionIsGolden(t *testing.T) {
	p := &provisioner{node: "laptop", dir: testDirectory(t)}
	pv, state, err := p.Provision(t.Context(), options(func(o *controller.ProvisionOptions) { o.StorageClass.MountOptions = []string{"noexec"} }))
	if err != nil || state != controller.ProvisioningFinished {
		t.Fatal(state, err)
	}
	path := pv.Spec.Local.Path
	if !there(path) || filepath.Dir(path) != p.dir.path {
		t.Errorf("path: %s", path)
	}
	pv.Spec.Local.Path = strings.Replace(path, p.dir.path, "/var/lib/boxyard/volumes", 1)
	data, err := yaml.Marshal(pv)
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "volume.yaml", string(data))
}

func TestProvisionRefuses(t *testing.T) {
	group := "snapshot.storage.k8s.io"
	tests := map[string]struct {
		change  func(*controller.ProvisionOptions)
		want    string
		ignored bool
	}{
		"more than the disk has": {func(o *controller.ProvisionOptions) {
			o.PVC.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Ti")
		}, "asks for 2Ti", false},
		"parameters": {func(o *controller.ProvisionOptions) {
			o.StorageClass.Parameters = map[string]string{"type": "ssd", "fsType": "ext4"}
		}, "(fsType, type)", false},
		"a selector": {func(o *controller.ProvisionOptions) { o.PVC.Spec.Selector = &metav1.LabelSelector{} }, "selector", false},
		"a snapshot": {func(o *controller.ProvisionOptions) {
			o.PVC.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: "monday"}
		}, "VolumeSnapshot monday", false},
		"a clone": {func(o *controller.ProvisionOptions) {
			o.PVC.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "other"}
		}, "PersistentVolumeClaim other", false},
		"a populator": {func(o *controller.ProvisionOptions) {
			o.PVC.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new("example.com"), Kind: "Dump", Name: "other"}
		}, "Dump", true},
		"another node": {func(o *controller.ProvisionOptions) { o.SelectedNodeName = "server" }, "server", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := &provisioner{node: "laptop", dir: testDirectory(t)}
			_, _, err := p.Provision(t.Context(), options(test.change))
			var ignored *controller.IgnoredError
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &ignored) != test.ignored {
				t.Errorf("error: %v", err)
			}
			entries, err := os.ReadDir(p.dir.path)
			if err == nil && len(entries) > 1 { // the marker
				t.Errorf("left: %v", entries)
			}
		})
	}
}

func TestDeleteRefusesWhatItDidNotMake(t *testing.T) {
	p := &provisioner{node: "laptop", dir: testDirectory(t)}
	pv, _, err := p.Provision(t.Context(), options(nil))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "x_"+volume)
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*corev1.PersistentVolume){
		"another place":       func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = other },
		"the whole directory": func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = p.dir.path },
		"a way around":        func(pv *corev1.PersistentVolume) { pv.Spec.Local.Path = p.dir.path + "/../../x_" + volume },
		"a neighbour":         func(pv *corev1.PersistentVolume) { pv.Name = "pvc-other" },
		"not local":           func(pv *corev1.PersistentVolume) { pv.Spec.Local = nil },
		"another node": func(pv *corev1.PersistentVolume) {
			pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values = []string{"server"}
		},
	} {
		changed := pv.DeepCopy()
		change(changed)
		if err := p.Delete(t.Context(), changed); err == nil || !there(pv.Spec.Local.Path) || !there(other) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := p.Delete(t.Context(), pv); err != nil || there(pv.Spec.Local.Path) {
		t.Errorf("ours: error %v", err)
	}
}

// TestControllerMakesAndRemoves runs the library's controller against a fake API.
func TestControllerMakesAndRemoves(t *testing.T) {
	client := fake.NewClientset(claim(), Classes()[0], Classes()[1])
	dir := testDirectory(t)
	orphan, kept := mustCreate(t, dir, "default_gone_pvc-11111111-1111-1111-1111-111111111111"), mustCreate(t, dir, "default_kept_pvc-22222222-2222-2222-2222-222222222222")
	if err := os.WriteFile(filepath.Join(kept, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	volumes, err := client.CoreV1().PersistentVolumes().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	c := newController(t.Context(), client, "laptop", dir)
	go func() { ended <- c.Run(t.Context()) }()

	pv, ok := (<-volumes.ResultChan()).Object.(*corev1.PersistentVolume)
	if !ok || pv.Name != volume || pv.Spec.ClaimRef == nil || pv.Spec.StorageClassName != "standard" || !there(pv.Spec.Local.Path) {
		t.Fatalf("volume: %+v", pv)
	}
	if there(orphan) || !there(kept) {
		t.Errorf("after the start the empty orphan is there: %v, the full one: %v", there(orphan), there(kept))
	}
	released := pv.DeepCopy()
	released.Status.Phase = corev1.VolumeReleased
	if _, err := client.CoreV1().PersistentVolumes().UpdateStatus(t.Context(), released, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range volumes.ResultChan() {
		if event.Type == "DELETED" {
			break
		}
	}
	if there(pv.Spec.Local.Path) {
		t.Error("the directory is still there")
	}
	select {
	case err := <-ended:
		t.Errorf("it ended: %v", err)
	default:
	}
}

func TestClassesAreOurs(t *testing.T) {
	defaults := 0
	for _, c := range Classes() {
		if c.Provisioner != Provisioner || *c.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
			t.Errorf("class: %+v", c)
		}
		if c.Annotations[defaultClass] == "true" {
			defaults++
		}
	}
	if defaults != 1 {
		t.Errorf("%d default classes", defaults)
	}
}
