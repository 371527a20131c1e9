package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/spelling"
)

// Find asks the cluster of kubeconfig. A Service that is not there is a fault that lists near names.
func Find(ctx context.Context, kubeconfig []byte, namespace, name string) (Addresses, error) {
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
	var nodes, endpoints struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := c.get(ctx, "/api/v1/nodes", &nodes); err != nil {
		return Addresses{}, err
	}
	selector := url.QueryEscape("kubernetes.io/service-name=" + name)
	path := "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(namespace) + "/endpointslices?labelSelector=" + selector
	if err := c.get(ctx, path, &endpoints); err != nil {
		return Addresses{}, err
	}
	all, err := decode[slice](endpoints.Items)
	if err != nil {
		return Addresses{}, err
	}
	machines, err := decode[object](nodes.Items)
	if err != nil {
		return Addresses{}, err
	}
	return resolve(namespace, svc, all, internalIPs(machines)), nil
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

func decode[T any](items []json.RawMessage) ([]T, error) {
	out := make([]T, len(items))
	for i, raw := range items {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("answer of the API: %w", err)
		}
	}
	return out, nil
}

var errNotFound = errors.New("not found")

type api struct {
	base string
	http *http.Client
}

func newAPI(kubeconfig []byte) (*api, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &api{base: strings.TrimSuffix(config.Host, "/"), http: client}, nil
}

func (c *api) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return &fault.Error{Code: "not-running", Summary: "the cluster is not running", Hint: "boxyard status", Exit: fault.ExitNotRunning}
	}
	if err != nil {
		return fmt.Errorf("ask the cluster: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(res.Body).Decode(into)
	case http.StatusNotFound:
		return errNotFound
	default:
		return fmt.Errorf("ask the cluster for %s: %s", path, res.Status)
	}
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
	f.Hint = "boxyard url svc/" + strings.Join(near(name, names, 3), suffix+", or boxyard url svc/") + suffix
	return f
}

// near returns at most n of names, the most similar first: those that contain the name or lie in
// it, then by edit distance.
func near(name string, names []string, n int) []string {
	rank := func(s string) int {
		if strings.Contains(s, name) || strings.Contains(name, s) {
			return 0
		}
		return spelling.Distance(name, s)
	}
	sorted := slices.SortedFunc(slices.Values(names), func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return sorted[:min(n, len(sorted))]
}
