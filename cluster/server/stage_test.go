package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPartThatEndsByItselfIsAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"with an error": {errors.New("no disk"), "etcd: no disk"},
		"without":       {nil, "etcd: it ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			failed := make(chan error, 1)
			s := newStage(t.Context(), func(err error) { failed <- err })
			s.start("etcd", func(context.Context) error { return test.err })
			if err := <-failed; !strings.Contains(err.Error(), test.want) {
				t.Errorf("failure: %v", err)
			}
			s.stop("storage", time.Second)
		})
	}
}

func TestPartsLiveUntilTheirStageStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newStage(ctx, func(err error) { t.Errorf("failure: %v", err) })
		ended := false
		s.start("kube-apiserver", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return ctx.Err()
		})
		s.try("a task", func(context.Context) error { return nil })
		cancel() // of the process: its stages are stopped one after the other
		synctest.Wait()
		if ended {
			t.Fatal("the part ended with the process' context")
		}
		s.stop("API", 2*time.Second)
		if !ended {
			t.Error("stop did not wait for the part")
		}
		s.start("late", func(context.Context) error { t.Error("started after the stop"); return nil })
		synctest.Wait()
	})
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t.Context(), func(error) {})
		hang := make(chan struct{})
		s.start("kubelet", func(context.Context) error { <-hang; return nil })
		before := time.Now()
		s.stop("clients", 2*time.Second)
		if took := time.Since(before); took != 2*time.Second {
			t.Errorf("stop took %v", took)
		}
		close(hang)
		synctest.Wait()
	})
}
