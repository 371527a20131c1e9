package node

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/volumemanager"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

const (
	// volumeWait is how long a pod's volumes are looked at often. It is a little less than the 300 ms after which
	// upstream looks for the second time (pkg/kubelet/volumemanager/volume_manager.go, podAttachAndMountRetryInterval).
	volumeWait = 280 * time.Millisecond
	volumeLook = 5 * time.Millisecond
	// volumeLoop is how often the manager looks what is to be mounted and unmounted. Upstream looks every 100 ms, once
	// for what pods want and once for what is not there yet, so that a pod waits for both.
	volumeLoop = 25 * time.Millisecond
)

// promptVolumes is the kubelet's volume manager, except that a pod goes on as soon as its volumes are mounted. Upstream
// looks once, and again after 300 ms, which nearly every pod has to wait for: its token is a volume. All decisions are
// upstream's still.
type promptVolumes struct{ volumemanager.VolumeManager }

// WaitForAttachAndMount implements volumemanager.VolumeManager.
func (v promptVolumes) WaitForAttachAndMount(ctx context.Context, pod *corev1.Pod) error {
	if pod != nil {
		v.await(ctx, pod)
	}
	return v.VolumeManager.WaitForAttachAndMount(ctx, pod)
}

// await returns when the pod's volumes are mounted, or upstream's own patience is due.
func (v promptVolumes) await(ctx context.Context, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(ctx, volumeWait)
	defer cancel()
	tick := time.NewTicker(volumeLook)
	defer tick.Stop()
	for !v.mounted(pod) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
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
	manager := fieldOf[volumemanager.VolumeManager](reflect.ValueOf(k), "volumeManager")
	if manager == nil {
		slog.Warn("this kubelet has no volume manager where one was expected; pods start a little later")
		return
	}
	for _, part := range []string{"desiredStateOfWorldPopulator", "reconciler"} {
		if !setLoop(*manager, part, volumeLoop) {
			slog.Warn("this kubelet's volume manager is not the one that was expected; pods start a little later", "part", part)
		}
	}
	*manager = promptVolumes{*manager}
}

// setLoop sets the pause of a part of upstream's volume manager, which has not begun yet.
func setLoop(manager volumemanager.VolumeManager, part string, pause time.Duration) bool {
	s := structOf(reflect.ValueOf(manager))
	if !s.IsValid() {
		return false
	}
	loop := fieldOf[time.Duration](s.FieldByName(part), "loopSleepDuration")
	if loop == nil {
		return false
	}
	*loop = pause
	return true
}
