package loadbalancer

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	servicehelper "k8s.io/cloud-provider/service/helpers"
	"k8s.io/klog/v2"
)

// Class is the spec.loadBalancerClass that means us; a Service without one is ours too.
const Class = "boxyard.dev/local"

// patience is how long a Service of another class may be without an address before an
// event says whom it waits for.
const patience = 10 * time.Second

// Options are what this machine has to give.
type Options struct {
	// Pools has one range for each family. Without any, Services have NodeIPs.
	Pools   []netip.Prefix
	NodeIPs []netip.Addr
	// APIPort and DNSPort listen on NodeIPs already.
	APIPort, DNSPort int
}

// allocator decides who holds what. It is used by one goroutine.
type allocator interface {
	// adopt is assign for what a Service has had before the start of this process.
	adopt(key string, svc *corev1.Service)
	assign(key string, svc *corev1.Service) ([]netip.Addr, *refusal)
	release(key string) (freed bool)
}

func newAllocator(o Options) allocator {
	if len(o.Pools) == 0 {
		return newShared(o.NodeIPs, o.APIPort, o.DNSPort)
	}
	return newPools(o.Pools)
}

type queue = workqueue.TypedRateLimitingInterface[string]

// controller is one run. Only the worker touches the maps and the allocator.
type controller struct {
	client    corev1client.CoreV1Interface
	lister    corelisters.ServiceLister
	events    record.EventRecorder
	queue     queue
	allocator allocator
	waiting   map[string]bool   // Services that something that comes free may serve
	told      map[string]string // the last event of a Service, which is not repeated
	now       func() time.Time
}

// Run serves until ctx is done. Somebody else starts the informer.
func Run(ctx context.Context, client kubernetes.Interface, services coreinformers.ServiceInformer, o Options) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "boxyard-load-balancer"})
	return run(ctx, client, services, recorder, o)
}

func run(ctx context.Context, client kubernetes.Interface, services coreinformers.ServiceInformer, events record.EventRecorder, o Options) error {
	c := &controller{
		client: client.CoreV1(), lister: services.Lister(), events: events,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 30*time.Second)),
		allocator: newAllocator(o), waiting: map[string]bool{}, told: map[string]string{}, now: time.Now,
	}
	registration, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    c.enqueue,
		UpdateFunc: func(_, object any) { c.enqueue(object) },
		DeleteFunc: c.enqueue,
	})
	if err != nil {
		return fmt.Errorf("watch for load balancers: %w", err)
	}
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	if err := c.adopt(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, c.queue.ShutDown)()
	for c.next(ctx) {
	}
	return nil
}

func (c *controller) enqueue(object any) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
		c.queue.Add(key)
	}
}

// adopt comes before anything is given away: the oldest first, so that of two Services with one
// address the newer gets another.
func (c *controller) adopt() error {
	all, err := c.lister.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	slices.SortFunc(all, func(a, b *corev1.Service) int {
		if d := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); d != 0 {
			return d
		}
		return strings.Compare(string(a.UID), string(b.UID))
	})
	for _, svc := range all {
		if wanted(svc) {
			c.allocator.adopt(keyOf(svc), svc)
		}
	}
	return nil
}

func (c *controller) next(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	err := c.sync(ctx, key)
	if err == nil || ctx.Err() != nil {
		c.queue.Forget(key)
		return true
	}
	if !apierrors.IsConflict(err) {
		klog.ErrorS(err, "Serve a load balancer", "service", key)
	}
	c.queue.AddRateLimited(key)
	return true
}

func (c *controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil //nolint:nilerr // no key of a Service
	}
	svc, err := c.lister.Services(namespace).Get(name)
	switch {
	case apierrors.IsNotFound(err):
		c.forget(key)
		return nil
	case err != nil:
		return err
	case wanted(svc):
		return c.serve(ctx, key, svc)
	case otherClass(svc):
		c.explain(key, svc)
		return nil
	default:
		return c.cleanUp(ctx, key, svc)
	}
}

// wanted: ours to serve.
func wanted(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && svc.DeletionTimestamp == nil && !otherClass(svc)
}

func otherClass(svc *corev1.Service) bool {
	class := svc.Spec.LoadBalancerClass
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && class != nil && *class != Class
}

func keyOf(svc *corev1.Service) string { return svc.Namespace + "/" + svc.Name }

func (c *controller) serve(ctx context.Context, key string, svc *corev1.Service) error {
	addresses, refused := c.allocator.assign(key, svc)
	changed := svc.DeepCopy()
	if !servicehelper.HasLBFinalizer(svc) {
		changed.Finalizers = append(changed.Finalizers, servicehelper.LoadBalancerCleanupFinalizer)
	}
	setStatus(&changed.Status, changed.Spec.Ports, addresses, refused)
	if err := c.patch(ctx, svc, changed); err != nil {
		return err
	}
	moved := !servicehelper.LoadBalancerStatusEqual(&svc.Status.LoadBalancer, &changed.Status.LoadBalancer)
	c.note(key, len(addresses) > 0, moved)
	switch {
	case refused != nil && len(addresses) > 0:
		c.tell(key, svc, corev1.EventTypeWarning, refused.reason, refused.message+"; the Service answers on "+join(addresses))
	case refused != nil:
		c.tell(key, svc, corev1.EventTypeWarning, refused.reason, refused.message)
	case moved:
		c.tell(key, svc, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Answers on "+join(addresses))
	default:
		delete(c.told, key)
	}
	return nil
}

// note is for the others that wait: what a Service had before may be free now.
func (c *controller) note(key string, served, moved bool) {
	if served {
		delete(c.waiting, key)
	} else {
		c.allocator.release(key)
		c.waiting[key] = true
	}
	if moved {
		c.wake(key)
	}
}

// wake lets those try that wait, all but the one that it was about.
func (c *controller) wake(about string) {
	for waiting := range c.waiting {
		if waiting != about {
			c.queue.Add(waiting)
		}
	}
}

// cleanUp is for Services that are deleted, or are of another type now. What they had goes to
// others only once they no longer say that they have it.
func (c *controller) cleanUp(ctx context.Context, key string, svc *corev1.Service) error {
	if servicehelper.HasLBFinalizer(svc) {
		changed := svc.DeepCopy()
		changed.Finalizers = slices.DeleteFunc(changed.Finalizers, func(f string) bool { return f == servicehelper.LoadBalancerCleanupFinalizer })
		setStatus(&changed.Status, nil, nil, nil)
		if err := c.patch(ctx, svc, changed); err != nil {
			return err
		}
	}
	c.forget(key)
	return nil
}

func (c *controller) patch(ctx context.Context, from, to *corev1.Service) error {
	patch, err := statusPatch(from, to)
	if err != nil || patch == nil {
		return err
	}
	_, err = c.client.Services(from.Namespace).Patch(ctx, from.Name, patchType, patch, patchOptions(), "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// forget lets go of everything, and lets those try that wait.
func (c *controller) forget(key string) {
	delete(c.told, key)
	delete(c.waiting, key)
	if c.allocator.release(key) {
		c.wake(key)
	}
}

// explain says whom a Service of another class waits for: nobody else would, where that controller
// is not installed.
func (c *controller) explain(key string, svc *corev1.Service) {
	if svc.DeletionTimestamp != nil || len(svc.Status.LoadBalancer.Ingress) > 0 {
		delete(c.told, key)
		return
	}
	if left := patience - c.now().Sub(svc.CreationTimestamp.Time); left > 0 {
		c.queue.AddAfter(key, left)
		return
	}
	c.tell(key, svc, corev1.EventTypeNormal, "OtherLoadBalancerClass", fmt.Sprintf(
		"Waits for the controller of spec.loadBalancerClass %s; Boxyard serves %s, and Services without a class", *svc.Spec.LoadBalancerClass, Class))
}

// tell makes an event, unless it was the last that the Service got.
func (c *controller) tell(key string, svc *corev1.Service, kind, reason, message string) {
	if c.told[key] == reason+message {
		return
	}
	c.told[key] = reason + message
	c.events.Event(svc, kind, reason, message)
}
