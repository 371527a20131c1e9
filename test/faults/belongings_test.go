//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// belongings are the things that a crash could leave behind, by kind. What has a name that lasts is named, of the
// rest there is a number for each.
type belongings map[string][]string

// compare says what there is more of, or less, than before.
func (before belongings) compare(after belongings) error {
	var errs []error
	for _, kind := range slices.Sorted(maps.Keys(before)) {
		less, more := without(before[kind], after[kind]), without(after[kind], before[kind])
		if len(less)+len(more) > 0 {
			errs = append(errs, fmt.Errorf("%s: %d before, %d after; new: %q; gone: %q", kind, len(before[kind]), len(after[kind]), more, less))
		}
	}
	return errors.Join(errs...)
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

func (y yard) belongings() (belongings, error) {
	ctx := y.t.Context()
	all := belongings{}
	for kind, args := range map[string][]string{
		"Docker's containers": {"ps", "--all", "--quiet", "--no-trunc"},
		"Docker's networks":   {"network", "ls", "--quiet", "--no-trunc"},
		"Docker's volumes":    {"volume", "ls", "--quiet"},
		"Docker's images":     {"images", "--all", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"},
		"build cache":         {"builder", "du", "--format", "{{.ID}}"},
		"addresses":           {"network", "inspect", "bridge", "host", "none", "--format", "{{.Name}} {{json .Status}} {{json .Containers}}"},
	} {
		out, err := y.Docker(ctx, args...)
		if err != nil {
			return nil, err
		}
		all[kind] = lines(out)
	}
	for kind, script := range map[string]string{
		"mounts":              "cut -d' ' -f4,5 /proc/self/mountinfo | sort",
		"links":               "ip -o link | cut -d: -f2 | sed 's/@.*//'",
		"named namespaces":    "ls /run/boxyard/dockerd/netns /run/docker/netns /run/netns 2>/dev/null || true",
		"rules":               "nft --stateless list ruleset | sed 's/^[[:space:]]*//' | sort | uniq -c",
		"bundles":             "find /run/boxyard/containerd /var/lib/boxyard/containerd -maxdepth 3 -path '*v2.task*' || true",
		"containers' files":   "ls /var/lib/boxyard/docker/containers",
		"temporary files":     "find /var/lib/boxyard/docker/tmp /var/lib/boxyard/docker/buildkit/executor /var/lib/boxyard/containerd/tmpmounts -mindepth 1 -maxdepth 1 2>/dev/null | grep -v -e /resolv -e /hosts || true",
		"snapshots' files":    "ls /var/lib/boxyard/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
		"unfinished contents": "ls /var/lib/boxyard/containerd/io.containerd.content.v1.content/ingest",
		"contents' files":     "ls /var/lib/boxyard/containerd/io.containerd.content.v1.content/blobs/sha256",
	} {
		out, err := y.Run(ctx, "sh", "-c", script)
		if err != nil {
			return nil, err
		}
		all[kind] = lines(out)
	}
	processes, err := y.Processes()
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if strings.Contains(p.Args, " -id boxyard ") {
			continue // the shim of all containers, which stays for a while without any
		}
		if strings.HasPrefix(p.Name, shim) || p.Name == "runc" || p.Name == "docker-init" {
			all["processes"] = append(all["processes"], p.String())
		}
	}
	return all, y.ofContainerd(ctx, all)
}

// hasNoMore prunes what is kept by design, and says what there is more or less of than before.
func (y yard) hasNoMore(before belongings) error {
	if err := y.prune(); err != nil {
		return err
	}
	after, err := y.belongings()
	if err != nil {
		return err
	}
	return before.compare(after)
}

func lines(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// ofContainerd lists what containerd has records of, in all of its namespaces.
func (y yard) ofContainerd(ctx context.Context, all belongings) error {
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			var conn net.Conn
			err := y.Inside(func() error {
				var err error
				conn, err = net.Dial("unix", "/run/boxyard/containerd/containerd.sock") //nolint:noctx // local, and answers at once
				return err
			})
			return conn, err
		}))
	if err != nil {
		return err
	}
	c, err := containerd.NewWithConn(conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { _ = c.Close() }()
	spaces, err := c.NamespaceService().List(ctx)
	if err != nil {
		return fmt.Errorf("list containerd's namespaces: %w", err)
	}
	for _, kind := range []string{"leases", "containers", "images", "snapshots", "ingests"} {
		all["containerd's "+kind] = nil
	}
	for _, space := range spaces {
		if err := ofNamespace(namespaces.WithNamespace(ctx, space), c, space, all); err != nil {
			return fmt.Errorf("namespace %s: %w", space, err)
		}
	}
	return nil
}

func ofNamespace(ctx context.Context, c *containerd.Client, space string, all belongings) error {
	add := func(kind, name string) {
		all["containerd's "+kind] = append(all["containerd's "+kind], space+"/"+name)
	}
	found, err := c.LeasesService().List(ctx)
	if err != nil {
		return err
	}
	for _, l := range found {
		if l.Labels["containerd.io/gc.expire"] == "" {
			labels, err := json.Marshal(l.Labels)
			if err != nil {
				return err
			}
			add("leases", l.ID+" "+string(labels))
			continue
		}
		// One that expires goes by itself, with what it holds.
		held, err := c.LeasesService().ListResources(ctx, l)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		all["contents' files"] = slices.DeleteFunc(all["contents' files"], func(digest string) bool {
			return slices.ContainsFunc(held, func(r leases.Resource) bool { return r.ID == "sha256:"+digest })
		})
	}
	var known []containers.Container
	if known, err = c.ContainerService().List(ctx); err != nil {
		return err
	}
	for _, f := range known {
		add("containers", f.ID)
	}
	images, err := c.ImageService().List(ctx)
	if err != nil {
		return err
	}
	for _, i := range images {
		add("images", i.Name+" "+i.Target.Digest.String())
	}
	var ingests []content.Status
	if ingests, err = c.ContentStore().ListStatuses(ctx); err != nil {
		return err
	}
	for _, i := range ingests {
		add("ingests", i.Ref)
	}
	return c.SnapshotService("overlayfs").Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		add("snapshots", info.Name)
		return nil
	})
}
