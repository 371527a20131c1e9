package node

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/prober"

	"github.com/boxyard/boxyard/cluster/internal/unexported"
)

const (
	// firstLook is after the kubelet has noted the container's ID, without which a probe does not run.
	firstLook = 20 * time.Millisecond
	// secondLook is the second; each later one comes when the container is twice as old.
	secondLook = 100 * time.Millisecond
	// defaultPeriod is a probe's period where it names none (the API's default).
	defaultPeriod = 10 * time.Second
)

// promptProbes is the kubelet's manager of probes, except that a container that has just started is asked early whether
// it is ready. Upstream means to ask it at once (pkg/kubelet/prober/prober_manager.go, UpdatePodStatus), but the worker
// looks for a status that is noted only after that: when it comes too early, or the application is not listening yet,
// the pod is not Ready until a whole period has passed, ten seconds by default. Here it is asked again, first after
// 20 ms and then whenever it is twice as old as the last time, until it is ready or the pause would be as long as its
// period. Who asks, when not to (initialDelaySeconds, a startup probe) and what counts is upstream's still.
type promptProbes struct {
	prober.Manager

	mu sync.Mutex
	// asked has the ID of the container, by pod and name, that is asked early, or has been.
	asked map[types.UID]map[string]string
}

func newPromptProbes(m prober.Manager) *promptProbes {
	return &promptProbes{Manager: m, asked: map[types.UID]map[string]string{}}
}

// UpdatePodStatus implements prober.Manager.
func (p *promptProbes) UpdatePodStatus(ctx context.Context, pod *corev1.Pod, s *corev1.PodStatus) {
	p.Manager.UpdatePodStatus(ctx, pod, s)
	for _, c := range unready(pod, s) {
		if p.begin(pod.UID, c) {
			go p.ask(context.WithoutCancel(ctx), pod, s.DeepCopy(), c)
		}
	}
}

// RemovePod implements prober.Manager.
func (p *promptProbes) RemovePod(pod *corev1.Pod) {
	p.Manager.RemovePod(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, pod.UID)
}

// CleanupPods implements prober.Manager.
func (p *promptProbes) CleanupPods(wanted map[types.UID]sets.Empty) {
	p.Manager.CleanupPods(wanted)
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid := range p.asked {
		if _, is := wanted[uid]; !is {
			delete(p.asked, uid)
		}
	}
}

// begin says whether the container is another than the last of its name, and notes it.
func (p *promptProbes) begin(pod types.UID, c waiting) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked[pod][c.name] == c.id {
		return false
	}
	if p.asked[pod] == nil {
		p.asked[pod] = map[string]string{}
	}
	p.asked[pod][c.name] = c.id
	return true
}

// current says whether the pod is still there, with this container.
func (p *promptProbes) current(pod types.UID, c waiting) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[pod][c.name] == c.id
}

// ask has upstream look at the container until it is ready. What upstream does with a status is to fill in what it
// knows, and to start a run of the probe of what it does not know to be ready, so that a copy serves for both.
func (p *promptProbes) ask(ctx context.Context, pod *corev1.Pod, s *corev1.PodStatus, c waiting) {
	<-time.After(c.delay)
	var age time.Duration
	for _, next := range c.looks() {
		<-time.After(next - age)
		age = next
		if !p.current(pod.UID, c) {
			return
		}
		now := s.DeepCopy()
		p.Manager.UpdatePodStatus(ctx, pod, now)
		if ready(now, c) {
			return
		}
	}
}

// waiting is a container that runs and is not known to be ready.
type waiting struct {
	name, id string
	delay    time.Duration // until its probe may run, from now
	period   time.Duration
	stable   bool // one success does not make it ready
}

// looks are the ages, counted from the end of delay, at which it is asked.
func (c waiting) looks() []time.Duration {
	looks := []time.Duration{firstLook}
	if c.stable {
		return looks // More of them would shorten what it has to endure.
	}
	for age, pause := secondLook, secondLook-firstLook; pause < c.period; age, pause = 2*age, age {
		looks = append(looks, age)
	}
	return looks
}

// unready lists the running containers with a readiness probe that have not passed it, and that no startup probe holds back.
func unready(pod *corev1.Pod, s *corev1.PodStatus) []waiting {
	var all []waiting
	list := func(specs []corev1.Container, statuses []corev1.ContainerStatus) {
		for _, status := range statuses {
			if status.Ready || status.State.Running == nil || status.Started == nil || !*status.Started {
				continue
			}
			for _, spec := range specs {
				if spec.Name == status.Name && spec.ReadinessProbe != nil {
					all = append(all, newWaiting(spec.ReadinessProbe, status))
				}
			}
		}
	}
	list(pod.Spec.Containers, s.ContainerStatuses)
	list(pod.Spec.InitContainers, s.InitContainerStatuses) // sidecars
	return all
}

func newWaiting(probe *corev1.Probe, s corev1.ContainerStatus) waiting {
	delay := time.Duration(probe.InitialDelaySeconds) * time.Second
	c := waiting{
		name: s.Name, id: s.ContainerID,
		delay:  max(0, delay-time.Since(s.State.Running.StartedAt.Time)),
		period: time.Duration(probe.PeriodSeconds) * time.Second,
		stable: probe.SuccessThreshold > 1,
	}
	if c.period <= 0 {
		c.period = defaultPeriod
	}
	return c
}

// ready says whether s has c as ready.
func ready(s *corev1.PodStatus, c waiting) bool {
	for _, statuses := range [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses} {
		for _, status := range statuses {
			if status.Name == c.name {
				return status.Ready
			}
		}
	}
	return false
}

// withPromptProbes is an option of upstream's kubelet, as withPromptVolumes is.
//
// Upstream lets the first probe wait for up to a period in the first period after the kubelet's start, so that those of
// many pods are spread when it starts again. Here that is where a cluster is new and the first pods come, so the manager
// takes itself for ten seconds older. It also takes containers for old that started ten seconds before it (what was ready
// stays ready until a probe says otherwise), which are twenty here: those that are younger are asked at once.
func withPromptProbes(k *kubelet.Kubelet) {
	manager := unexported.Field[prober.Manager](reflect.ValueOf(k), "probeManager")
	if manager == nil {
		slog.Warn("this kubelet has no manager of probes where one was expected; pods may be Ready later")
		return
	}
	if start := unexported.Field[time.Time](reflect.ValueOf(*manager), "start"); start != nil {
		*start = start.Add(-defaultPeriod)
	} else {
		slog.Warn("this kubelet's manager of probes is not the one that was expected; the first pods may be Ready later")
	}
	*manager = newPromptProbes(*manager)
}
