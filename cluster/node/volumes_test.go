package node

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/kubernetes/pkg/kubelet/volumemanager"
	volumetypes "k8s.io/kubernetes/pkg/volume/util/types"
)

// fakeVolumes mounts the volume "token" when it is told to.
type fakeVolumes struct {
	volumemanager.VolumeManager
	mounted atomic.Bool
	asked   time.Time // when upstream was asked to wait
}

func (f *fakeVolumes) GetMountedVolumesForPod(volumetypes.UniquePodName) container.VolumeMap {
	if f.mounted.Load() {
		return container.VolumeMap{"token": {}}
	}
	return container.VolumeMap{}
}

func (f *fakeVolumes) WaitForAttachAndMount(context.Context, *corev1.Pod) error {
	f.asked = time.Now()
	return nil
}

func podWithVolume() *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{
		Volumes:    []corev1.Volume{{Name: "token"}},
		Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/token"}}}},
	}}
}

// looping passes as a loop of upstream's does, until it is stopped.
func looping(p *pace) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() {
		for ctx.Err() == nil {
			p.wait()
		}
	})
	return func() {
		cancel()
		loop.Wait()
	}
}

func TestUpstreamIsAskedAsSoonAsVolumesAreMounted(t *testing.T) {
	for name, test := range map[string]struct {
		pod   *corev1.Pod
		mount time.Duration // 0: never
		want  time.Duration // at least, and at most one look more
	}{
		"no volume":     {pod: &corev1.Pod{}},
		"mounted later": {pod: podWithVolume(), mount: 62 * time.Millisecond, want: 62 * time.Millisecond},
		"never mounted": {pod: podWithVolume(), want: volumeWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeVolumes{}
				if test.mount > 0 {
					time.AfterFunc(test.mount, func() { f.mounted.Store(true) })
				}
				start := time.Now()
				d := newDemand()
				defer looping(&pace{demand: d})()
				if err := (promptVolumes{f, d}).WaitForAttachAndMount(t.Context(), test.pod); err != nil {
					t.Fatal(err)
				}
				if took := f.asked.Sub(start); took < test.want || took > test.want+paceBusy {
					t.Errorf("upstream was asked after %v, want %v", took, test.want)
				}
			})
		})
	}
}

// TestUpstreamHasTheField fails with a kubelet that keeps its volume manager elsewhere.
func TestUpstreamHasTheField(t *testing.T) {
	k := &kubelet.Kubelet{}
	withPromptVolumes(k)
	field := reflect.ValueOf(k).Elem().FieldByName("volumeManager")
	if !field.IsValid() || field.Elem().Type() != reflect.TypeFor[promptVolumes]() {
		t.Errorf("the kubelet's volume manager is %v", field)
	}
}

// TestUpstreamHasTheLoops fails with a volume manager that begins the passes of its loops elsewhere.
func TestUpstreamHasTheLoops(t *testing.T) {
	manager := volumemanager.NewVolumeManager(true, "node", nil, nil, nil, nil, nil, nil, t.TempDir(), nil, nil, nil, 0)
	if !setPace(manager, newDemand()) {
		t.Fatal("there is no place for the pace of the loops")
	}
	for _, part := range []string{"desiredStateOfWorldPopulator", "reconciler"} {
		loop := reflect.ValueOf(manager).Elem().FieldByName(part).Elem().Elem().FieldByName("loopSleepDuration")
		if got := time.Duration(loop.Int()); got != volumeLoop {
			t.Errorf("%s pauses for %v", part, got)
		}
	}
	if setPace(nil, newDemand()) {
		t.Error("what is not there was set")
	}
}
