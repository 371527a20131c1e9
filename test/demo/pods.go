package main

import (
	"fmt"
)

// pod is as much of a pod as the demo looks at.
type pod struct {
	Metadata struct {
		Name              string  `json:"name"`
		DeletionTimestamp *string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Conditions []struct {
			Type, Status string
		} `json:"conditions"`
		ContainerStatuses []struct {
			RestartCount int `json:"restartCount"`
			State        struct {
				Waiting struct {
					Reason string `json:"reason"`
				} `json:"waiting"`
			} `json:"state"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

func (p pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True" && p.Metadata.DeletionTimestamp == nil
		}
	}
	return false
}

func (p pod) restarts() int {
	sum := 0
	for _, c := range p.Status.ContainerStatuses {
		sum += c.RestartCount
	}
	return sum
}

func (p pod) waiting() string {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting.Reason != "" {
			return c.State.Waiting.Reason
		}
	}
	return ""
}

// pods lists those of the web Deployment, the ones that are being deleted included.
func (d *demo) pods() []pod {
	var list struct {
		Items []pod `json:"items"`
	}
	d.decode(&list, "kubectl", "--namespace", namespace, "get", "pods", "--selector", "app=web", "--output", "json")
	return list.Items
}

func (d *demo) readyPods(want int) error {
	ready := 0
	for _, p := range d.pods() {
		if p.ready() {
			ready++
		}
	}
	if ready < want {
		return fmt.Errorf("%d of %d pods are ready", ready, want)
	}
	return nil
}

// podCount is for waiting until pods that leave have left.
func (d *demo) podCount(want int) error {
	if got := len(d.pods()); got != want {
		return fmt.Errorf("there are %d pods", got)
	}
	return nil
}

// onePod picks a ready pod to play with.
func (d *demo) onePod() string {
	for _, p := range d.pods() {
		if p.ready() {
			return p.Metadata.Name
		}
	}
	d.fail("no web pod is ready")
	return ""
}

// endpoint compares what the EndpointSlices say of a pod.
func (d *demo) endpoint(podName string, ready bool) error {
	var list struct {
		Items []struct {
			Endpoints []struct {
				Conditions struct {
					Ready *bool `json:"ready"`
				} `json:"conditions"`
				TargetRef struct {
					Name string `json:"name"`
				} `json:"targetRef"`
			} `json:"endpoints"`
		} `json:"items"`
	}
	d.decode(&list, "kubectl", "--namespace", namespace, "get", "endpointslices", "--selector", "kubernetes.io/service-name=web", "--output", "json")
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef.Name != podName || e.Conditions.Ready == nil {
				continue
			}
			if *e.Conditions.Ready != ready {
				return fmt.Errorf("the endpoint of %s has ready=%v", podName, *e.Conditions.Ready)
			}
			return nil
		}
	}
	return fmt.Errorf("%s has no endpoint", podName)
}
