package networkpolicy

import (
	"context"
	"errors"
	"fmt"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/informer"
)

const (
	// settle is how long a burst of changes is collected. An address of a new pod is there some
	// hundred milliseconds before its first container runs.
	settle = 20 * time.Millisecond
	// With many pods and policies a look at all of them takes its time; then there are fewer looks.
	pauseFactor = 4
	// settleMost bounds that.
	settleMost = 2 * time.Second
	// After a failure.
	retryFirst, retryMost = time.Second, time.Minute
)

// Run enforces the NetworkPolicies of the cluster until ctx is done. What fails is tried again, and said in an event of
// each policy; the rules of before hold meanwhile, and when Run has ended.
func Run(ctx context.Context, client *rest.Config, c config.Cluster) error {
	set, err := kubernetes.NewForConfig(client)
	if err != nil {
		return fmt.Errorf("client for the network policies: %w", err)
	}
	n, err := newNode(c)
	if err != nil {
		return err
	}
	return newController(set, n).run(ctx)
}

func newNode(c config.Cluster) (node, error) {
	n := node{bridge: c.Bridge, dns: resolver{port: uint16(c.DNSPort)}}
	var err error
	if n.dns.addresses, err = config.Addresses(c.NodeIPs); err != nil {
		return node{}, fmt.Errorf("nodeIPs: %w", err)
	}
	if n.dns.services, err = config.Addresses(c.ClusterDNS); err != nil {
		return node{}, fmt.Errorf("clusterDNS: %w", err)
	}
	for _, a := range n.dns.addresses {
		n.families = append(n.families, familyOf(a))
	}
	return n, nil
}

type controller struct {
	client    kubernetes.Interface
	table     *table
	bridging  bridging
	reporter  *reporter
	resultDir string

	changed  informer.Signal
	lost     informer.Signal
	policies cache.Store
	// follower is there as long as there are policies.
	follower *follower
}

// follower is what is watched only while there are policies.
type follower struct {
	cancel     context.CancelFunc
	pods       cache.Store
	namespaces cache.Store
	sandboxes  *sandboxes
}

func newController(client kubernetes.Interface, n node) *controller {
	return &controller{
		client: client, table: newTable(n), bridging: bridging{proc: "/proc/sys/net/bridge", families: n.families},
		reporter: newReporter(client), resultDir: resultsDir,
		changed: informer.NewSignal(), lost: informer.NewSignal(),
	}
}

func (c *controller) run(ctx context.Context) error {
	policies := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithTransform(trim))
	followed := policies.Networking().V1().NetworkPolicies().Informer()
	synced, err := c.handle(followed)
	if err != nil {
		return err
	}
	c.policies = followed.GetStore()
	policies.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		return nil
	}
	defer c.unfollow()
	retry := retryFirst
	for {
		began := time.Now()
		err := c.sync(ctx)
		took := time.Since(began)
		if ctx.Err() != nil {
			return nil
		}
		c.reporter.report(ctx, c.listPolicies(), err)
		var again <-chan time.Time
		if err != nil {
			klog.ErrorS(err, "NetworkPolicies are not enforced as they are written; trying again", "after", retry)
			again = time.After(retry)
			retry = min(2*retry, retryMost)
		} else {
			retry = retryFirst
		}
		if !c.await(ctx, again, min(max(settle, pauseFactor*took), settleMost)) {
			return nil
		}
	}
}

// await returns when it is time for the next look, or false when ctx is done.
func (c *controller) await(ctx context.Context, again <-chan time.Time, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-again:
		return true
	case <-c.lost:
		c.table.verify(ctx)
		return true
	case <-c.changed:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

func (c *controller) handle(followed cache.SharedIndexInformer) (cache.InformerSynced, error) {
	registration, err := followed.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { c.changed.Notify() },
		UpdateFunc: func(before, after any) {
			if !same(before, after) {
				c.changed.Notify()
			}
		},
		DeleteFunc: func(any) { c.changed.Notify() },
	})
	if err != nil {
		return nil, fmt.Errorf("watch for network policies: %w", err)
	}
	return registration.HasSynced, nil
}

// sync makes the kernel's rules those of the policies that there are.
func (c *controller) sync(ctx context.Context) error {
	policies := c.listPolicies()
	if len(policies) == 0 {
		c.unfollow()
		return c.table.remove(ctx)
	}
	if err := c.follow(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	o := objects{policies: policies, namespaces: map[string]labels.Set{}, pods: own(c.listPods(), c.follower.sandboxes.addresses())}
	for _, object := range c.follower.namespaces.List() {
		if n, ok := object.(*namespace); ok {
			o.namespaces[n.Name] = n.Labels
		}
	}
	return errors.Join(c.table.apply(ctx, compile(c.table.node, o)), c.bridging.check())
}

// follow starts to watch what policies select. It returns when all of it is known.
func (c *controller) follow(ctx context.Context) error {
	if c.follower != nil {
		return nil
	}
	live, cancel := context.WithCancel(ctx)
	all := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithTransform(trim))
	pods, namespaces := all.Core().V1().Pods().Informer(), all.Core().V1().Namespaces().Informer()
	f := &follower{
		cancel: cancel, pods: pods.GetStore(), namespaces: namespaces.GetStore(),
		sandboxes: &sandboxes{dir: c.resultDir, changed: c.changed.Notify},
	}
	podsSynced, err := c.handle(pods)
	if err != nil {
		cancel()
		return err
	}
	namespacesSynced, err := c.handle(namespaces)
	if err != nil {
		cancel()
		return err
	}
	// Both only make things sooner: without them rules come when the kubelet has reported, or with the next change.
	if err := f.sandboxes.follow(live); err != nil {
		klog.ErrorS(err, "Addresses of new pods are known only when the kubelet reports them")
	}
	if err := watchTables(live, c.lost.Notify); err != nil {
		klog.ErrorS(err, "A deletion of the nft table is not noticed", "table", tableName)
	}
	all.Start(live.Done())
	c.follower = f
	cache.WaitForCacheSync(ctx.Done(), podsSynced, namespacesSynced)
	return nil
}

func (c *controller) unfollow() {
	if c.follower != nil {
		c.follower.cancel()
		c.follower = nil
	}
}

func (c *controller) listPolicies() []*networkingv1.NetworkPolicy {
	objects := c.policies.List()
	policies := make([]*networkingv1.NetworkPolicy, 0, len(objects))
	for _, object := range objects {
		if p, ok := object.(*networkingv1.NetworkPolicy); ok {
			policies = append(policies, p)
		}
	}
	return policies
}

func (c *controller) listPods() []*pod {
	objects := c.follower.pods.List()
	pods := make([]*pod, 0, len(objects))
	for _, object := range objects {
		if p, ok := object.(*pod); ok {
			pods = append(pods, p)
		}
	}
	return pods
}
