package loadbalancer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	servicehelper "k8s.io/cloud-provider/service/helpers"
)

// world is an API with a controller, in a synctest bubble.
type world struct {
	t      *testing.T
	client *fake.Clientset
	events *record.FakeRecorder
	stop   func()
}

func start(t *testing.T, o Options, before ...*corev1.Service) *world {
	w := &world{t: t, client: fake.NewClientset()}
	for _, svc := range before {
		w.create(svc)
	}
	w.run(o)
	return w
}

func (w *world) run(o Options) {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.events = record.NewFakeRecorder(100)
	factory := informers.NewSharedInformerFactory(w.client, 0)
	services := factory.Core().V1().Services()
	informer := services.Informer()
	ended := make(chan error, 2)
	go func() { ended <- run(ctx, w.client, services, w.events, o) }()
	go func() { informer.RunWithContext(ctx); ended <- nil }()
	w.stop = func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				w.t.Error(err)
			}
		}
	}
	synctest.Wait()
}

func (w *world) create(svc *corev1.Service) {
	w.t.Helper()
	svc.UID, svc.CreationTimestamp = types.UID(svc.Name), metav1.NewTime(time.Now())
	if _, err := w.client.CoreV1().Services(svc.Namespace).Create(w.t.Context(), svc, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

func (w *world) change(name string, change func(*corev1.Service)) {
	w.t.Helper()
	svc := w.get(name)
	change(svc)
	if _, err := w.client.CoreV1().Services("default").Update(w.t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

func (w *world) delete(name string) {
	w.t.Helper()
	if err := w.client.CoreV1().Services("default").Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

// settle gives retries and the informer's batches their time, which is not real.
func (w *world) settle() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func (w *world) get(name string) *corev1.Service {
	w.t.Helper()
	svc, err := w.client.CoreV1().Services("default").Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return svc
}

func (w *world) has(name string, want ...string) {
	w.t.Helper()
	svc := w.get(name)
	var got []string
	for _, in := range svc.Status.LoadBalancer.Ingress {
		got = append(got, in.IP)
		if in.IPMode == nil || *in.IPMode != corev1.LoadBalancerIPModeVIP || len(in.Ports) != len(svc.Spec.Ports) {
			w.t.Errorf("%s: %+v", name, in)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s has %v, want %v", name, got, want)
	}
}

// told returns the events since the last call.
func (w *world) told() []string {
	var list []string
	for {
		select {
		case e := <-w.events.Events:
			list = append(list, e)
		default:
			return list
		}
	}
}

func (w *world) tells(want ...string) {
	w.t.Helper()
	got := w.told()
	if len(got) != len(want) {
		w.t.Errorf("events %q, want %q", got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			w.t.Errorf("event %q, want %q", got[i], want[i])
		}
	}
}

func poolOf(texts ...string) Options { return Options{Pools: prefixes(texts...)} }

func TestAnAddressAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, poolOf("10.46.0.0/24", "fd42:b0c5:46::/112"))
		defer w.stop()
		w.create(service("a"))
		w.create(service("b", dual, func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = new(Class) }))
		w.has("a", "10.46.0.1")
		w.has("b", "10.46.0.2", "fd42:b0c5:46::1")
		if !servicehelper.HasLBFinalizer(w.get("a")) {
			t.Error("no finalizer")
		}
		w.tells("Normal EnsuredLoadBalancer Answers on 10.46.0.1", "Normal EnsuredLoadBalancer Answers on 10.46.0.2, fd42:b0c5:46::1")
		writes := len(w.client.Actions())
		w.change("a", func(svc *corev1.Service) { svc.Labels = map[string]string{"a": "b"} })
		if got := len(w.client.Actions()) - writes; got != 2 { // the get and the update of this test
			t.Errorf("%d requests for a change that is none of ours", got)
		}
		w.change("a", onPorts(80, 81))
		w.has("a", "10.46.0.1")
	})
}

func TestExhaustedThenReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, poolOf("10.46.0.9/32"))
		defer w.stop()
		w.create(service("a"))
		w.create(service("b"))
		w.has("a", "10.46.0.9")
		w.has("b")
		w.tells("Normal EnsuredLoadBalancer", "Warning NoAddressLeft")
		w.change("b", func(svc *corev1.Service) { svc.Labels = map[string]string{"a": "b"} })
		w.tells() // once is enough
		w.change("a", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeNodePort })
		w.has("a")
		w.has("b", "10.46.0.9")
		if servicehelper.HasLBFinalizer(w.get("a")) {
			t.Error("the finalizer stayed after the change of type")
		}
		w.tells("Normal EnsuredLoadBalancer")
		w.change("a", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeLoadBalancer })
		w.tells("Warning NoAddressLeft")
		// The API keeps an object with a finalizer until that is gone.
		w.change("b", func(svc *corev1.Service) { svc.DeletionTimestamp = new(metav1.Now()) })
		if servicehelper.HasLBFinalizer(w.get("b")) {
			t.Error("the finalizer stayed after the deletion")
		}
		w.has("b")
		w.has("a", "10.46.0.9")
		w.delete("b")
		w.has("a", "10.46.0.9")
	})
}

func TestDeletedWithoutUs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, poolOf("10.46.0.9/32"))
		defer w.stop()
		w.create(service("a"))
		w.create(service("b"))
		w.delete("a") // the finalizer was removed by hand
		w.has("b", "10.46.0.9")
	})
}

func TestOtherClassesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = new("example.com/theirs") }
		w := start(t, poolOf("10.46.0.0/24"))
		defer w.stop()
		w.create(service("a", other, func(svc *corev1.Service) {
			svc.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
		}))
		w.tells()
		time.Sleep(patience)
		w.settle()
		w.has("a")
		w.tells("Normal OtherLoadBalancerClass Waits for the controller of spec.loadBalancerClass example.com/theirs")
		w.change("a", func(svc *corev1.Service) { svc.DeletionTimestamp = new(metav1.Now()) })
		if !servicehelper.HasLBFinalizer(w.get("a")) {
			t.Error("took the finalizer of another controller")
		}
		for _, a := range w.client.Actions() {
			if a.GetVerb() == "patch" {
				t.Errorf("wrote: %v", a)
			}
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, poolOf("10.46.0.0/29"))
		for i := range 4 {
			w.create(service(fmt.Sprintf("s%d", i)))
		}
		w.delete("s1")
		w.stop()
		// While nobody looked: the oldest goes, a new one comes, and one has the address of another.
		w.delete("s0")
		w.create(service("a-new"))
		w.create(service("a-thief", having("10.46.0.4")))
		w.run(poolOf("10.46.0.0/29"))
		w.settle()
		w.has("s2", "10.46.0.3")
		w.has("s3", "10.46.0.4")
		seen := map[string]string{}
		for _, name := range []string{"s2", "s3", "a-new", "a-thief"} {
			for _, in := range w.get(name).Status.LoadBalancer.Ingress {
				if by := seen[in.IP]; by != "" {
					t.Errorf("%s and %s have %s", by, name, in.IP)
				}
				seen[in.IP] = name
			}
		}
		if len(seen) != 4 {
			t.Errorf("addresses: %v", seen)
		}
		w.stop()
		w.told()
		w.run(poolOf("10.47.0.0/29")) // another pool: all move
		w.settle()
		if ip := w.get("s3").Status.LoadBalancer.Ingress; len(ip) != 1 || !strings.HasPrefix(ip[0].IP, "10.47.0.") {
			t.Errorf("s3 has %v", ip)
		}
		w.stop()
	})
}

func TestNodeAddressAndItsPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Options{NodeIPs: addresses("10.42.0.1"), APIPort: 6443, DNSPort: 10053})
		defer w.stop()
		w.create(service("a", onPorts(80, 443)))
		w.create(service("b"))
		w.has("a", "10.42.0.1")
		w.has("b")
		condition := meta.FindStatusCondition(w.get("b").Status.Conditions, corev1.LoadBalancerPortsError)
		if condition == nil || condition.Status != metav1.ConditionTrue || condition.Reason != "PortTaken" {
			t.Errorf("condition %+v", condition)
		}
		w.tells("Normal EnsuredLoadBalancer", "Warning PortTaken port 80/TCP")
		w.change("a", onPorts(443)) // lets 80 go
		w.has("b", "10.42.0.1")
		if meta.FindStatusCondition(w.get("b").Status.Conditions, corev1.LoadBalancerPortsError) != nil {
			t.Error("the condition stayed")
		}
		w.change("b", onPorts(443)) // asks for what is taken, and loses what it had
		w.has("b")
		w.create(service("c"))
		w.has("c", "10.42.0.1")
	})
}
