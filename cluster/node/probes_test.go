package node

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/prober"

	"github.com/boxyard/boxyard/cluster/internal/unexported"
)

// fakeProbes has a container that is ready from some time on, and notes when it was looked at.
type fakeProbes struct {
	prober.Manager
	ready time.Time // zero: never

	mu     sync.Mutex
	looked []time.Time
}

func (f *fakeProbes) UpdatePodStatus(_ context.Context, _ *corev1.Pod, s *corev1.PodStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = append(f.looked, time.Now())
	s.ContainerStatuses[0].Ready = !f.ready.IsZero() && !time.Now().Before(f.ready)
}

func (f *fakeProbes) RemovePod(*corev1.Pod) {}

func (f *fakeProbes) CleanupPods(map[types.UID]sets.Empty) {}

func podWithProbe(probe *corev1.Probe) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "pod"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", ReadinessProbe: probe}}},
	}
}

func running(id string) *corev1.PodStatus {
	return &corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: "web", ContainerID: id, Started: new(true),
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}}
}

const ms = time.Millisecond

func TestEarlyProbes(t *testing.T) {
	for name, test := range map[string]struct {
		probe     *corev1.Probe
		ready     time.Duration // 0: never
		unstarted bool
		removed   time.Duration // 0: stays
		want      []time.Duration
	}{
		"ready at once":          {probe: &corev1.Probe{PeriodSeconds: 10}, ready: 5 * ms, want: []time.Duration{0, 20 * ms}},
		"ready after a while":    {probe: &corev1.Probe{PeriodSeconds: 10}, ready: 300 * ms, want: []time.Duration{0, 20 * ms, 100 * ms, 200 * ms, 400 * ms}},
		"a short period":         {probe: &corev1.Probe{PeriodSeconds: 1}, want: []time.Duration{0, 20 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms}},
		"the default period":     {probe: &corev1.Probe{}, ready: time.Hour, want: []time.Duration{0, 20 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms}},
		"not before its delay":   {probe: &corev1.Probe{InitialDelaySeconds: 3, PeriodSeconds: 1}, ready: 3050 * ms, want: []time.Duration{0, 3020 * ms, 3100 * ms}},
		"several successes":      {probe: &corev1.Probe{SuccessThreshold: 3, PeriodSeconds: 10}, want: []time.Duration{0, 20 * ms}},
		"removed":                {probe: &corev1.Probe{PeriodSeconds: 10}, removed: 150 * ms, want: []time.Duration{0, 20 * ms, 100 * ms}},
		"no probe":               {want: []time.Duration{0}},
		"startup probe, not yet": {probe: &corev1.Probe{PeriodSeconds: 10}, unstarted: true, want: []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				f := &fakeProbes{}
				if test.ready > 0 {
					f.ready = start.Add(test.ready)
				}
				p, pod, status := newPromptProbes(f), podWithProbe(test.probe), running("one")
				if test.unstarted {
					status.ContainerStatuses[0].Started = new(false)
				}
				p.UpdatePodStatus(t.Context(), pod, status)
				if test.removed > 0 {
					time.Sleep(test.removed)
					p.RemovePod(pod)
				}
				time.Sleep(time.Minute)
				var got []time.Duration
				for _, at := range f.looked {
					got = append(got, at.Sub(start))
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("looked at %v, want %v", got, test.want)
				}
			})
		})
	}
}

// A container is asked early once, and the next of its name again.
func TestEarlyProbesAreOncePerContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeProbes{}
		p, pod := newPromptProbes(f), podWithProbe(&corev1.Probe{PeriodSeconds: 1})
		looks := func(id string) int {
			before := len(f.looked)
			p.UpdatePodStatus(t.Context(), pod, running(id))
			time.Sleep(time.Minute)
			return len(f.looked) - before
		}
		if got := []int{looks("one"), looks("one"), looks("two")}; !slices.Equal(got, []int{7, 1, 7}) {
			t.Errorf("looked %v times", got)
		}
		p.CleanupPods(map[types.UID]sets.Empty{"another": {}})
		if len(p.asked) != 0 {
			t.Errorf("%v is kept of a pod that is gone", p.asked)
		}
	})
}

// TestUpstreamHasTheProbes fails with a kubelet that keeps its manager of probes, or its start, elsewhere.
func TestUpstreamHasTheProbes(t *testing.T) {
	k := &kubelet.Kubelet{}
	manager := unexported.Field[prober.Manager](reflect.ValueOf(k), "probeManager")
	if manager == nil {
		t.Fatal("the kubelet has no manager of probes")
	}
	*manager = prober.NewManager(nil, nil, nil, nil, nil, nil)
	start := unexported.Field[time.Time](reflect.ValueOf(*manager), "start")
	if start == nil {
		t.Fatal("the manager has no start")
	}
	withPromptProbes(k)
	if _, is := (*manager).(*promptProbes); !is {
		t.Errorf("the kubelet's manager of probes is a %T", *manager)
	}
	if age := time.Since(*start); age < defaultPeriod {
		t.Errorf("the manager is %v old", age)
	}
}
