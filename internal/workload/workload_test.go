package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeCRI has two pods; stopping the container of the first fails. Calls of other methods panic.
type fakeCRI struct {
	runtime.RuntimeServiceClient
	mu    sync.Mutex
	calls []string
	fail  string
}

func (f *fakeCRI) call(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
	if what == f.fail {
		return errors.New("no")
	}
	return nil
}

func (f *fakeCRI) ListPodSandbox(context.Context, *runtime.ListPodSandboxRequest, ...grpc.CallOption) (*runtime.ListPodSandboxResponse, error) {
	return &runtime.ListPodSandboxResponse{Items: []*runtime.PodSandbox{
		{Id: "p1", Metadata: &runtime.PodSandboxMetadata{Namespace: "default", Name: "one"}},
		{Id: "p2", Metadata: &runtime.PodSandboxMetadata{Namespace: "default", Name: "two"}},
	}}, nil
}

func (f *fakeCRI) ListContainers(context.Context, *runtime.ListContainersRequest, ...grpc.CallOption) (*runtime.ListContainersResponse, error) {
	return &runtime.ListContainersResponse{Containers: []*runtime.Container{
		{Id: "c1", PodSandboxId: "p1", State: runtime.ContainerState_CONTAINER_RUNNING},
		{Id: "c2", PodSandboxId: "p2", State: runtime.ContainerState_CONTAINER_RUNNING},
		{Id: "old", PodSandboxId: "p2", State: runtime.ContainerState_CONTAINER_EXITED},
	}}, nil
}

func (f *fakeCRI) StopContainer(_ context.Context, r *runtime.StopContainerRequest, _ ...grpc.CallOption) (*runtime.StopContainerResponse, error) {
	if r.GetTimeout() != 7 {
		return nil, errors.New("another grace")
	}
	return nil, f.call("stop " + r.GetContainerId())
}

func (f *fakeCRI) StopPodSandbox(_ context.Context, r *runtime.StopPodSandboxRequest, _ ...grpc.CallOption) (*runtime.StopPodSandboxResponse, error) {
	return nil, f.call("stop " + r.GetPodSandboxId())
}

func (f *fakeCRI) RemovePodSandbox(_ context.Context, r *runtime.RemovePodSandboxRequest, _ ...grpc.CallOption) (*runtime.RemovePodSandboxResponse, error) {
	return nil, f.call("remove " + r.GetPodSandboxId())
}

func TestStopPodsGoesOnPastErrors(t *testing.T) {
	all := []string{"stop c1", "stop c2", "stop p1", "stop p2", "remove p1", "remove p2"}
	for _, c := range []struct {
		name, fail string
		calls      []string
		err        string // "" for none
	}{
		{"all well", "", all, ""},
		{"a container that will not stop is killed with its pod", "stop c1", all, ""},
		{"a pod that cannot be removed is stopped", "remove p1", all, ""},
		{"a pod that will not stop is named, the other goes", "stop p1", []string{"stop c1", "stop c2", "stop p1", "stop p2", "remove p2"}, "default/one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cri := &fakeCRI{fail: c.fail}
			err := stopPods(t.Context(), cri, 7*time.Second)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error: %v", err)
			}
			sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
			if d := cmp.Diff(c.calls, cri.calls, sorted); d != "" {
				t.Error(d)
			}
		})
	}
}

// slowCRI has many pods whose containers take all the time that they are given.
type slowCRI struct{ fakeCRI }

const slowPods = 10 * concurrency

func (*slowCRI) ListPodSandbox(context.Context, *runtime.ListPodSandboxRequest, ...grpc.CallOption) (*runtime.ListPodSandboxResponse, error) {
	var pods []*runtime.PodSandbox
	for i := range slowPods {
		pods = append(pods, &runtime.PodSandbox{Id: fmt.Sprint("p", i)})
	}
	return &runtime.ListPodSandboxResponse{Items: pods}, nil
}

func (*slowCRI) ListContainers(context.Context, *runtime.ListContainersRequest, ...grpc.CallOption) (*runtime.ListContainersResponse, error) {
	var containers []*runtime.Container
	for i := range slowPods {
		containers = append(containers, &runtime.Container{
			Id: fmt.Sprint("c", i), PodSandboxId: fmt.Sprint("p", i), State: runtime.ContainerState_CONTAINER_RUNNING,
		})
	}
	return &runtime.ListContainersResponse{Containers: containers}, nil
}

func (*slowCRI) StopContainer(_ context.Context, r *runtime.StopContainerRequest, _ ...grpc.CallOption) (*runtime.StopContainerResponse, error) {
	<-time.After(time.Duration(r.GetTimeout()) * time.Second)
	return nil, nil
}

func TestStopPodsGivesAllTheirGraceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cri, start := &slowCRI{}, time.Now()
		if err := stopPods(t.Context(), cri, 7*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
		if want := 2 * slowPods; len(cri.calls) != want {
			t.Errorf("%d calls, want %d", len(cri.calls), want)
		}
	})
}

func TestIsShim(t *testing.T) {
	const socket = "/run/boxyard/containerd/containerd.sock"
	line := func(args ...string) []string { return args }
	for _, c := range []struct {
		name string
		line []string
		want bool
	}{
		{"ours", line("/var/lib/boxyard/payload/current/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "x", "-address", socket), true},
		{"another containerd's", line("/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", "x", "-address", "/run/containerd/containerd.sock"), false},
		{"another program with our socket", line("/usr/bin/grep", "-address", socket), false},
		{"no value", line("/usr/bin/containerd-shim-runc-v2", "-address"), false},
		{"zombie", line(""), false},
	} {
		if got := isShim(c.line, socket); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestMountsUnderGivesDeepestFirst(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:26 / /run rw - tmpfs tmpfs rw
31 30 0:27 / /run/boxyard rw - tmpfs tmpfs rw
32 31 0:28 / /run/boxyard/containerd/rootfs rw - overlay overlay rw
33 32 0:29 / /run/boxyard/containerd/rootfs/proc rw shared:3 - proc proc rw
34 22 0:30 / /run/boxyards/x rw - tmpfs tmpfs rw
35 22 0:31 / /var/lib/boxyard/a\040b rw - tmpfs tmpfs rw
`
	got, err := mountsUnder(strings.NewReader(mountinfo), []string{"/run/boxyard", "/var/lib/boxyard/"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/var/lib/boxyard/a b", "/run/boxyard/containerd/rootfs/proc", "/run/boxyard/containerd/rootfs"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCgroupMountsOfHybridHost(t *testing.T) {
	const mountinfo = `30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
33 22 0:28 /docker/1 /run/x/cgroup rw - cgroup cgroup rw,memory
34 22 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`
	got, err := cgroupMounts(strings.NewReader(mountinfo))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"}, got); d != "" {
		t.Error(d)
	}
}

func TestRemoveCgroupsRefusesTheRoot(t *testing.T) {
	for _, root := range []string{"", "/", "..", "a/.."} {
		if err := RemoveCgroups(t.Context(), root); err == nil {
			t.Errorf("%q was accepted", root)
		}
	}
}

func TestRemoveEmptiedWaitsForTheLastProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		name    string
		answers []error
		cancel  bool
		want    error
		calls   int
	}{
		{"empty", []error{nil}, false, nil, 1},
		{"a process is leaving", []error{unix.EBUSY, unix.EBUSY, nil}, false, nil, 3},
		{"forbidden", []error{unix.EPERM}, false, unix.EPERM, 1},
		{"a process stays", []error{unix.EBUSY}, true, unix.EBUSY, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cancel {
				cancel()
			}
			calls := 0
			err := removeEmptied(ctx, "/sys/fs/cgroup/x", func(string) error {
				calls++
				return c.answers[calls-1]
			})
			if !errors.Is(err, c.want) || calls != c.calls {
				t.Errorf("got %v after %d calls, want %v after %d", err, calls, c.want, c.calls)
			}
		})
	}
	cancel()
}

func TestRemoveTreeRemovesDirectoriesOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "boxyard")
	if err := os.MkdirAll(filepath.Join(dir, "docker", "c1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker", "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(dir); err == nil {
		t.Error("a directory with a file was removed")
	}
	if err := os.Remove(filepath.Join(dir, "docker", "f")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time there is nothing, which is well
		if err := removeTree(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestWidenPipes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c1", "c1-stdout")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0) // as a shim holds it
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if err := WidenPipes(dir); err != nil {
		t.Fatal(err)
	}
	size, err := unix.FcntlInt(fifo.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if size <= 64<<10 {
		t.Errorf("the pipe holds %d bytes", size)
	}
	if err := WidenPipes(filepath.Join(dir, "gone")); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestWidenPipesLeavesInputToTheShim(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c1-stdin")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(path, []byte("input"), 0) }() // as dockerd does: opening waits for the shim
	for range 100 {
		if err := WidenPipes(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-wrote:
		t.Fatalf("the writer has not waited: %v", err)
	default:
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil || string(got) != "input" {
		t.Errorf("read %q, and the writer got %v", got, err)
	}
}
