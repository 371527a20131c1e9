package service

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/spelling"
)

// Find asks the cluster of kubeconfig. doorPort is the front door's; 0: it is closed. A Service that is
// not there is a fault that lists near names.
func Find(ctx context.Context, kubeconfig []byte, namespace, name string, doorPort int) (Addresses, error) {
	c, err := newAPI(kubeconfig)
	if err != nil {
		return Addresses{}, err
	}
	services := "/api/v1/namespaces/" + url.PathEscape(namespace) + "/services"
	var svc object
	err = c.get(ctx, services+"/"+url.PathEscape(name), &svc)
	if errors.Is(err, errNotFound) {
		return Addresses{}, c.missing(ctx, services, namespace, name)
	}
	if err != nil {
		return Addresses{}, err
	}
	var nodes struct {
		Items []object `json:"items"`
	}
	if err := c.get(ctx, "/api/v1/nodes", &nodes); err != nil {
		return Addresses{}, err
	}
	all, err := c.endpoints(ctx, namespace, name)
	if err != nil {
		return Addresses{}, err
	}
	return resolve(namespace, svc, all, internalIPs(nodes.Items), doorPort), nil
}

func internalIPs(nodes []object) []string {
	var ips []string
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if a.Type == "InternalIP" {
				ips = append(ips, a.Address)
			}
		}
	}
	return ips
}

// missing lists what is there, the most similar names first.
func (c *api) missing(ctx context.Context, services, namespace, name string) error {
	f := &fault.Error{
		Code:    "no-service",
		Summary: fmt.Sprintf("there is no service %s in namespace %s", name, namespace),
		Hint:    "kubectl get services --all-namespaces",
	}
	var list struct {
		Items []object `json:"items"`
	}
	if err := c.get(ctx, services, &list); err != nil || len(list.Items) == 0 {
		return f
	}
	names := make([]string, len(list.Items))
	for i, s := range list.Items {
		names[i] = s.Metadata.Name
	}
	suffix := ""
	if namespace != "default" {
		suffix = " -n " + namespace
	}
	f.Hint = "boxyard url svc/" + strings.Join(spelling.Near(name, names, 3), suffix+", or boxyard url svc/") + suffix
	return f
}
