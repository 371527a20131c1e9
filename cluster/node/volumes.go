package node

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/volumemanager"
	"k8s.io/kubernetes/pkg/kubelet/volumemanager/populator"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"

	"github.com/boxyard/boxyard/cluster/internal/unexported"
)

const (
	// volumeWait is how long a pod's volumes are looked at often. It is a little less than the 300 ms after which
	// upstream looks for the second time (pkg/kubelet/volumemanager/volume_manager.go, podAttachAndMountRetryInterval).
	volumeWait = 280 * time.Millisecond
	// volumeLoop is the pause that is left to upstream's loops: they wait elsewhere.
	volumeLoop = time.Millisecond
)

// promptVolumes is the kubelet's volume manager, except that its loops look often while a pod waits for its volumes, and
// seldom otherwise, and that the pod goes on as soon as they are mounted. Upstream's loops look every 100 ms, once for
// what pods want and once for what is not there yet; then it looks for the pod once, and again after 300 ms, which
// nearly every pod has to wait for: its token is a volume. All decisions are upstream's still.
type promptVolumes struct {
	volumemanager.VolumeManager
	demand *demand
}

// WaitForAttachAndMount implements volumemanager.VolumeManager.
func (v promptVolumes) WaitForAttachAndMount(ctx context.Context, pod *corev1.Pod) error {
	v.demand.begin()
	defer v.demand.end()
	if pod != nil {
		v.await(ctx, pod)
	}
	return v.VolumeManager.WaitForAttachAndMount(ctx, pod)
}

// WaitForUnmount implements volumemanager.VolumeManager.
func (v promptVolumes) WaitForUnmount(ctx context.Context, pod *corev1.Pod) error {
	v.demand.begin()
	defer v.demand.end()
	return v.VolumeManager.WaitForUnmount(ctx, pod)
}

// await returns when the pod's volumes are mounted, or upstream's own patience is due.
func (v promptVolumes) await(ctx context.Context, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(ctx, volumeWait)
	defer cancel()
	for {
		pass := v.demand.pass() // before looking, so that none is missed
		if v.mounted(pod) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-pass:
		}
	}
}

func (v promptVolumes) mounted(pod *corev1.Pod) bool {
	mounts, devices, _ := volumeutil.GetPodVolumeNames(pod, false)
	wanted := mounts.Union(devices)
	if wanted.Len() == 0 {
		return true
	}
	mounted := v.GetMountedVolumesForPod(volumeutil.GetUniquePodName(pod))
	for name := range wanted {
		if _, is := mounted[name]; !is {
			return false
		}
	}
	return true
}

// withPromptVolumes is an option of upstream's kubelet. The manager cannot be given from outside; where a later kubelet
// has it in another field, this changes nothing, and says so.
func withPromptVolumes(k *kubelet.Kubelet) {
	manager := unexported.Field[volumemanager.VolumeManager](reflect.ValueOf(k), "volumeManager")
	if manager == nil {
		slog.Warn("this kubelet has no volume manager where one was expected; pods start a little later")
		return
	}
	demand := newDemand()
	if !setPace(*manager, demand) {
		slog.Warn("this kubelet's volume manager is not the one that was expected; pods start a little later")
	}
	*manager = promptVolumes{*manager, demand}
}

// pacedPods is where upstream's populator begins each pass: it asks for the pods.
type pacedPods struct {
	populator.PodManager
	pace *pace
}

// GetPods implements populator.PodManager.
func (p pacedPods) GetPods() []*corev1.Pod {
	p.pace.wait()
	return p.PodManager.GetPods()
}

// setPace makes the two loops of upstream's volume manager, which have not begun yet, wait where each begins its pass
// (pkg/kubelet/volumemanager: populator, findAndAddNewPods; reconciler, readyToUnmount), instead of afterwards.
func setPace(manager volumemanager.VolumeManager, demand *demand) bool {
	s := unexported.Struct(reflect.ValueOf(manager))
	if !s.IsValid() {
		return false
	}
	wants, mounts := s.FieldByName("desiredStateOfWorldPopulator"), s.FieldByName("reconciler")
	pods := unexported.Field[populator.PodManager](wants, "podManager")
	populated := unexported.Field[func() bool](mounts, "populatorHasAddedPods")
	wantsPause := unexported.Field[time.Duration](wants, "loopSleepDuration")
	mountsPause := unexported.Field[time.Duration](mounts, "loopSleepDuration")
	if pods == nil || populated == nil || wantsPause == nil || mountsPause == nil {
		return false
	}
	*pods = pacedPods{*pods, &pace{demand: demand}}
	upstream, mountsPace := *populated, &pace{demand: demand}
	*populated = func() bool {
		mountsPace.wait()
		return upstream()
	}
	*wantsPause, *mountsPause = volumeLoop, volumeLoop
	return true
}
