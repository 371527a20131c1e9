package workload

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
)

// StopTasks stops every task in every namespace of the containerd at socket, whoever made it:
// SIGTERM, after grace SIGKILL, then the task is deleted and its shim ends. Containers keep their
// records, so Docker's restart policies still apply. Errors do not stop it and are returned joined.
func StopTasks(ctx context.Context, socket string, grace time.Duration) error {
	cli, err := containerd.New(socket, containerd.WithTimeout(callTime))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer cli.Close()
	spaces, err := cli.NamespaceService().List(ctx)
	if err != nil {
		return fmt.Errorf("list containerd namespaces: %w", err)
	}
	errs := make([]error, 0, len(spaces))
	for _, ns := range spaces {
		errs = append(errs, stopNamespace(namespaces.WithNamespace(ctx, ns), cli, grace))
	}
	return errors.Join(errs...)
}

func stopNamespace(ctx context.Context, cli *containerd.Client, grace time.Duration) error {
	containers, err := cli.Containers(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	errs := make([]error, len(containers))
	down := make(chan struct{}, concurrency)
	var group errgroup.Group
	for i, c := range containers {
		group.Go(func() error {
			task, err := stopTask(ctx, c, grace)
			if task == nil || err != nil {
				errs[i] = err
				return nil
			}
			down <- struct{}{}
			defer func() { <-down }()
			errs[i] = deleteTask(ctx, task)
			return nil
		})
	}
	_ = group.Wait() // the functions return nil: one task's error must not keep the others running
	return errors.Join(errs...)
}

// stopTask gives the container's task when it has ended, or nil where there is none.
func stopTask(ctx context.Context, c containerd.Container, grace time.Duration) (containerd.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, grace+callTime)
	defer cancel()
	task, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the task of %s: %w", c.ID(), err)
	}
	exited, err := task.Wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", c.ID(), err)
	}
	if err := signal(ctx, task, syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("stop %s: %w", c.ID(), err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-exited:
	case <-timer.C:
		if err := signal(ctx, task, syscall.SIGKILL); err != nil {
			return nil, fmt.Errorf("kill %s: %w", c.ID(), err)
		}
		<-exited // ends with ctx at the latest
	}
	return task, nil
}

func deleteTask(ctx context.Context, task containerd.Task) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := task.Delete(ctx, containerd.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete the task of %s: %w", task.ID(), err)
	}
	return nil
}

func signal(ctx context.Context, task containerd.Task, sig syscall.Signal) error {
	err := task.Kill(ctx, sig)
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		return nil // it has ended already
	}
	return err
}
