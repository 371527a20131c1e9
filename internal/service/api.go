package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/boxyard/boxyard/internal/fault"
)

var (
	errNotFound = errors.New("not found")
	// errGone: the API does not remember what happened since then.
	errGone = errors.New("the watch is too old")
)

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
	return c.stream(ctx, path, func(d *json.Decoder) error { return d.Decode(into) })
}

// stream hands an answer to read, which may go on as long as the API sends.
func (c *api) stream(ctx context.Context, path string, read func(*json.Decoder) error) error {
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
		return read(json.NewDecoder(res.Body))
	case http.StatusNotFound:
		return errNotFound
	case http.StatusGone:
		return errGone
	default:
		return fmt.Errorf("ask the cluster for %s: %s", path, res.Status)
	}
}

func (c *api) endpoints(ctx context.Context, namespace, name string) ([]slice, error) {
	var list struct {
		Items []slice `json:"items"`
	}
	selector := url.QueryEscape("kubernetes.io/service-name=" + name)
	path := "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(namespace) + "/endpointslices?labelSelector=" + selector
	err := c.get(ctx, path, &list)
	return list.Items, err
}
