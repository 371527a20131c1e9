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
	// At most so many pods are being stopped at a time.
	concurrency = 16
	// What a call may take besides the grace that it gives to a container.
	callTime = 15 * time.Second
)

// StopPods stops every pod of the CRI at socket, and removes those that can be: containers get SIGTERM,
// and SIGKILL after grace. It goes on past errors and returns them joined; it takes at most about grace plus 45 s
// for each 16 pods. Their controllers must have ended before, or they make new ones.
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
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, p := range pods.GetItems() {
		group.Go(func() error {
			errs[i] = stopPod(ctx, cri, p, running[p.GetId()], grace)
			return nil
		})
	}
	_ = group.Wait() // the functions return nil: one pod's error must not keep the others running
	return errors.Join(errs...)
}

// stopPod continues past the error of a container: stopping the sandbox kills what is left in it.
func stopPod(ctx context.Context, cri runtime.RuntimeServiceClient, pod *runtime.PodSandbox, containers []string, grace time.Duration) error {
	what := pod.GetMetadata().GetNamespace() + "/" + pod.GetMetadata().GetName()
	stopErrs := make([]error, len(containers))
	var group errgroup.Group
	for i, id := range containers {
		group.Go(func() error {
			stopErrs[i] = stopContainer(ctx, cri, id, grace)
			return nil
		})
	}
	_ = group.Wait()
	callCtx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := cri.StopPodSandbox(callCtx, &runtime.StopPodSandboxRequest{PodSandboxId: pod.GetId()}); err != nil {
		return fmt.Errorf("stop pod %s: %w", what, errors.Join(append(stopErrs, err)...))
	}
	// What cannot be removed has ended nevertheless, and the kubelet removes it after the next start. On a full disk
	// containerd cannot even write down that a container has ended, and refuses.
	_, _ = cri.RemovePodSandbox(callCtx, &runtime.RemovePodSandboxRequest{PodSandboxId: pod.GetId()})
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
