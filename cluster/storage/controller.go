package storage

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"github.com/boxyard/boxyard/cluster/internal/informer"
)

const (
	workers = 2
	// A claim that cannot have its volume, and a volume that cannot be removed, are tried again after a second and
	// then less and less often: what keeps them is mostly for people to change.
	firstRetry, lastRetry = time.Second, 2 * time.Minute
)

// Controller provisions volumes on one node.
type Controller struct {
	dir     directory
	watched informers.SharedInformerFactory
	volumes cache.SharedIndexInformer
	claims  cache.SharedIndexInformer
	library *controller.ProvisionController
}

// New prepares a controller for the node, with its volumes below path. ctx is for as long as it may run. It is
// called before any other part of the process runs: the library registers types in client-go's scheme, which is
// one for the whole process and without a lock.
func New(ctx context.Context, config *rest.Config, node, path string) (*Controller, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for volumes: %w", err)
	}
	return newController(ctx, client, node, newDirectory(path)), nil
}

func newController(ctx context.Context, client kubernetes.Interface, node string, dir directory) *Controller {
	watched := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(informer.WithoutManagedFields))
	c := &Controller{
		dir:     dir,
		watched: watched,
		volumes: watched.Core().V1().PersistentVolumes().Informer(),
		claims:  watched.Core().V1().PersistentVolumeClaims().Informer(),
	}
	c.library = controller.NewProvisionController(klog.NewContext(ctx, klog.Background().WithName("storage")),
		client, Provisioner, &provisioner{node: node, dir: dir},
		controller.ClaimsInformer(c.claims),
		controller.VolumesInformer(c.volumes),
		controller.ClassesInformer(watched.Storage().V1().StorageClasses().Informer()),
		controller.LeaderElection(false), // one process
		controller.ResyncPeriod(0),       // what fails is in a queue, and the watches lose nothing
		controller.Threadiness(workers),
		controller.AddFinalizer(true), // a directory goes also when the volume is deleted before its claim
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
		controller.CreateProvisionedPVLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
	)
	return c
}

// Run blocks until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.watched.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), c.volumes.HasSynced, c.claims.HasSynced) {
		return nil
	}
	if err := c.sweep(); err != nil {
		klog.FromContext(ctx).Error(err, "Look for directories without a volume")
	}
	c.library.Run(klog.NewContext(ctx, klog.Background().WithName("storage")))
	return nil
}
