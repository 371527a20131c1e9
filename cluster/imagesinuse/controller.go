package imagesinuse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/boxyard/boxyard/cluster/internal/atomicfile"
	"github.com/boxyard/boxyard/cluster/internal/informer"
)

// settle is the shortest time between two writes; a burst of changes is collected meanwhile.
const settle = 100 * time.Millisecond

// file is images-in-use.json (ARCHITECTURE.md, "Contracts").
type file struct {
	Images []string `json:"images"`
	// Volumes are those of Images that are mounted as volumes.
	Volumes []string `json:"volumes,omitempty"`
}

// Run keeps the file up to date until ctx is done. A file that is there stays until every kind of object has
// been read: half a list would let images be pruned.
func Run(ctx context.Context, config *rest.Config, node, path string) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for the images in use: %w", err)
	}
	return run(ctx, client, node, path)
}

func run(ctx context.Context, client kubernetes.Interface, node, path string) error {
	changed := informer.NewSignal()
	stores, synced, err := watch(ctx, client, node, changed)
	if err != nil {
		return err
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	for {
		if err := write(path, list(stores)); err != nil {
			return fmt.Errorf("write the images in use: %w", err)
		}
		// In this order, so that one change among none is written at once.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// watch starts one informer for each kind.
func watch(ctx context.Context, client kubernetes.Interface, node string, changed informer.Signal) ([]cache.Store, []cache.InformerSynced, error) {
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	pods := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
		}))
	list := []cache.SharedIndexInformer{
		pods.Core().V1().Pods().Informer(),
		all.Apps().V1().Deployments().Informer(),
		all.Apps().V1().StatefulSets().Informer(),
		all.Apps().V1().DaemonSets().Informer(),
		all.Apps().V1().ReplicaSets().Informer(),
		all.Batch().V1().Jobs().Informer(),
		all.Batch().V1().CronJobs().Informer(),
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { changed.Notify() },
		UpdateFunc: func(before, after any) {
			if !sameImages(before, after) {
				changed.Notify()
			}
		},
		DeleteFunc: func(any) { changed.Notify() },
	}
	stores := make([]cache.Store, len(list))
	synced := make([]cache.InformerSynced, len(list))
	for i, followed := range list {
		registration, err := followed.AddEventHandler(handler)
		if err != nil {
			return nil, nil, fmt.Errorf("watch for images in use: %w", err)
		}
		stores[i], synced[i] = followed.GetStore(), registration.HasSynced
	}
	all.Start(ctx.Done())
	pods.Start(ctx.Done())
	return stores, synced, nil
}

func sameImages(before, after any) bool {
	a, okA := before.(*references)
	b, okB := after.(*references)
	return okA && okB && slices.Equal(a.images, b.images) && slices.Equal(a.volumes, b.volumes)
}

// list is sorted and has each reference once, so that equal sets are equal files.
func list(stores []cache.Store) file {
	all := file{Images: []string{}}
	for _, store := range stores {
		for _, object := range store.List() {
			if r, ok := object.(*references); ok {
				all.Images = append(all.Images, r.images...)
				all.Volumes = append(all.Volumes, r.volumes...)
			}
		}
	}
	slices.Sort(all.Images)
	slices.Sort(all.Volumes)
	return file{Images: slices.Compact(all.Images), Volumes: slices.Compact(all.Volumes)}
}

// write replaces the file atomically, and only when it differs.
func write(path string, all file) error {
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	return atomicfile.Replace(path, data)
}
