package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// At most so many pods, or tasks, are being taken down at a time. All of them wait for their ends at once.
	concurrency = 16
	// What a call may take besides the grace that it gives to a container.
	callTime = 15 * time.Second
)

// StopPods stops every pod of the CRI at socket, and removes those that can be: containers get SIGTERM,
// and SIGKILL after grace, which they have all at once. It goes on past errors and returns them joined; it takes at most
// about grace plus 30 s for each 16 pods. Their controllers must have ended before, or they make new ones.
func StopPods(ctx context.Context, socket string, grace time.Duration) error {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer conn.Close()
	return stopPods(ctx, runtime.NewRuntimeServiceClient(conn), grace)
}

func stopPods(ctx context.Context, cri runtime.RuntimeServiceClient, grace time.Duration) error {
	listCtx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	pods, err := cri.ListPodSandbox(listCtx, &runtime.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	containers, err := cri.ListContainers(listCtx, &runtime.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("list containers of pods: %w", err)
	}
	running := map[string][]string{}
	for _, c := range containers.GetContainers() {
		if c.GetState() == runtime.ContainerState_CONTAINER_RUNNING {
			running[c.GetPodSandboxId()] = append(running[c.GetPodSandboxId()], c.GetId())
		}
	}
	errs := make([]error, len(pods.GetItems()))
	down := make(chan struct{}, concurrency)
	var group errgroup.Group
	for i, p := range pods.GetItems() {
		group.Go(func() error {
			stopped := stopContainers(ctx, cri, running[p.GetId()], grace)
			down <- struct{}{}
			defer func() { <-down }()
			errs[i] = takeDown(ctx, cri, p, stopped)
			return nil
		})
	}
	_ = group.Wait() // the functions return nil: one pod's error must not keep the others running
	return errors.Join(errs...)
}

func stopContainers(ctx context.Context, cri runtime.RuntimeServiceClient, containers []string, grace time.Duration) error {
	errs := make([]error, len(containers))
	var group errgroup.Group
	for i, id := range containers {
		group.Go(func() error {
			errs[i] = stopContainer(ctx, cri, id, grace)
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// takeDown stops and removes the pod's sandbox, which kills what is left in it: that its containers could not be stopped
// (stopped) is an error only if the sandbox cannot either.
func takeDown(ctx context.Context, cri runtime.RuntimeServiceClient, pod *runtime.PodSandbox, stopped error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := cri.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: pod.GetId()}); err != nil {
		what := pod.GetMetadata().GetNamespace() + "/" + pod.GetMetadata().GetName()
		return fmt.Errorf("stop pod %s: %w", what, errors.Join(stopped, err))
	}
	// What cannot be removed has ended nevertheless, and the kubelet removes it after the next start. On a full disk
	// containerd cannot even write down that a container has ended, and refuses.
	_, _ = cri.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: pod.GetId()})
	return nil
}

func stopContainer(ctx context.Context, cri runtime.RuntimeServiceClient, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+callTime)
	defer cancel()
	_, err := cri.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: id, Timeout: int64(grace.Seconds())})
	if err != nil {
		return fmt.Errorf("stop container %s: %w", id, err)
	}
	return nil
}
