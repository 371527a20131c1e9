package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/paths"
)

// Report is the answer of GET /v1/disk and of `boxyard df -o json`. All sizes are bytes.
type Report struct {
	Uses []Use `json:"uses"`
	// SizeBytes and FreeBytes are of the file system that has Boxyard's data; free is what others than root may use.
	SizeBytes int64 `json:"sizeBytes"`
	FreeBytes int64 `json:"freeBytes"`
	// LimitPercent is how full it may become before images that nobody uses and caches of builds are removed.
	LimitPercent int `json:"limitPercent"`
}

// Use is what one kind of thing uses.
type Use struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	// ReclaimableBytes is what Reclaim would free: nothing that runs or that a workload wants needs it.
	ReclaimableBytes int64 `json:"reclaimableBytes"`
	// Count is how many there are, Active how many of them are in use.
	Count  int `json:"count,omitempty"`
	Active int `json:"active,omitempty"`
	// Reclaim is the command that frees what is not needed; "" where there is none.
	Reclaim string `json:"reclaim,omitempty"`
}

// Options is what the daemon knows about this instance.
type Options struct {
	Layout     paths.Layout
	Docker     bool
	Cluster    bool
	KubeletDir string
	PodLogDir  string
	VolumesDir string
	// LimitPercent is config.Disk.LimitPercent.
	LimitPercent int
	// Wanted are the full names of images that pods and workloads of the cluster use, and those that come with Boxyard.
	Wanted []string
}

// Measure looks at everything. A part that does not answer is an error: half a report would mislead.
func Measure(ctx context.Context, o Options) (Report, error) {
	var r Report
	if o.Docker {
		uses, err := docker(ctx, o)
		if err != nil {
			return Report{}, err
		}
		r.Uses = append(r.Uses, uses...)
	}
	if o.Cluster {
		pods, err := pods(ctx, o)
		if err != nil {
			return Report{}, err
		}
		claims, err := directories(o.VolumesDir)
		if err != nil {
			return Report{}, err
		}
		claims.Name = "volumes of claims"
		r.Uses = append(r.Uses, pods, claims)
	}
	for _, own := range []struct{ name, dir string }{
		{"registry and its caches", o.Layout.DataOf("registry")},
		{"cluster's objects", o.Layout.DataOf("cluster")},
		{"Boxyard's programs", o.Layout.PayloadDir()},
		{"Boxyard's logs", o.Layout.Log},
	} {
		bytes, err := size(own.dir)
		if err != nil {
			return Report{}, err
		}
		if bytes > 0 {
			r.Uses = append(r.Uses, Use{Name: own.name, Bytes: bytes})
		}
	}
	var err error
	r.LimitPercent = o.LimitPercent
	r.SizeBytes, r.FreeBytes, err = Size(o.Layout.Data)
	return r, err
}

// Size is that of the file system which has a directory, or is to have it, and what others than root may still use of
// it, in bytes.
func Size(dir string) (total, free int64, err error) {
	var fs unix.Statfs_t
	err = unix.Statfs(dir, &fs)
	for above := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && above != dir; above = filepath.Dir(dir) {
		dir = above
		err = unix.Statfs(dir, &fs)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return int64(fs.Blocks) * fs.Bsize, int64(fs.Bavail) * fs.Bsize, nil
}

// docker asks dockerd, and corrects what it does not know: pods use images, too.
func docker(ctx context.Context, o Options) ([]Use, error) {
	cli, err := client.New(client.WithHost("unix://" + o.Layout.DockerSocket()))
	if err != nil {
		return nil, fmt.Errorf("connect to dockerd: %w", err)
	}
	defer cli.Close()
	d, err := cli.DiskUsage(ctx, client.DiskUsageOptions{Images: true, Containers: true, Volumes: true, BuildCache: true, Verbose: true})
	if err != nil {
		return nil, fmt.Errorf("ask dockerd what uses the disk: %w", err)
	}
	return []Use{
		images(d.Images, o.Wanted),
		{
			Name: "build cache", Bytes: d.BuildCache.TotalSize, ReclaimableBytes: d.BuildCache.Reclaimable,
			Count: int(d.BuildCache.TotalCount), Active: int(d.BuildCache.ActiveCount), Reclaim: "docker builder prune",
		},
		{
			Name: "containers", Bytes: d.Containers.TotalSize, ReclaimableBytes: d.Containers.Reclaimable,
			Count: int(d.Containers.TotalCount), Active: int(d.Containers.ActiveCount), Reclaim: "docker container prune",
		},
		{
			Name: "Docker's volumes", Bytes: d.Volumes.TotalSize, ReclaimableBytes: d.Volumes.Reclaimable,
			Count: int(d.Volumes.TotalCount), Active: int(d.Volumes.ActiveCount), Reclaim: "docker volume prune --all",
		},
	}, nil
}

func images(d client.ImagesDiskUsage, wanted []string) Use {
	u := Use{Name: "images", Bytes: d.TotalSize, Reclaim: "docker image prune --all"}
	for _, i := range d.Items {
		u.Count++
		// A shared layer goes with the last image that has it: what is said here goes for sure.
		if i.Containers > 0 || slices.ContainsFunc(slices.Concat(i.RepoTags, i.RepoDigests), func(name string) bool { return isWanted(name, wanted) }) {
			u.Active++
		} else {
			u.ReclaimableBytes += i.Size - max(i.SharedSize, 0)
		}
	}
	return u
}

// pods are the writable layers of their containers, their emptyDirs and their logs.
func pods(ctx context.Context, o Options) (Use, error) {
	u := Use{Name: "pods"}
	running, err := filepath.Glob(filepath.Join(o.KubeletDir, "pods", "*"))
	if err != nil {
		return u, err
	}
	u.Count, u.Active = len(running), len(running)
	// Other volumes are mounted there, and counted where they are.
	private, err := filepath.Glob(filepath.Join(o.KubeletDir, "pods", "*", "volumes", "kubernetes.io~empty-dir"))
	if err != nil {
		return u, err
	}
	for _, dir := range append(private, o.PodLogDir) {
		bytes, err := size(dir)
		if err != nil {
			return u, err
		}
		u.Bytes += bytes
	}
	layers, err := podLayers(ctx, o.Layout.ContainerdSocket())
	u.Bytes += layers
	return u, err
}

// podLayers asks containerd for the writable layers of what CRI has made.
func podLayers(ctx context.Context, socket string) (int64, error) {
	cli, err := containerd.New(socket, containerd.WithDefaultNamespace("k8s.io"))
	if err != nil {
		return 0, fmt.Errorf("connect to containerd: %w", err)
	}
	defer func() { _ = cli.Close() }()
	all, err := cli.Containers(ctx, `labels."io.cri-containerd.kind"`)
	if err != nil {
		return 0, fmt.Errorf("list the containers of pods: %w", err)
	}
	var total int64
	for _, c := range all {
		info, err := c.Info(ctx, containerd.WithoutRefreshedMetadata)
		if err != nil || info.SnapshotKey == "" {
			continue // it has gone meanwhile
		}
		usage, err := cli.SnapshotService(info.Snapshotter).Usage(ctx, info.SnapshotKey)
		if err == nil {
			total += usage.Size
		}
	}
	return total, ctx.Err()
}
