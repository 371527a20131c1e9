package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/boxyard/boxyard/internal/fault"
)

const (
	// How long to wait before the API is asked again: it is back some seconds after the cluster process died.
	shortestWait, longestWait = 100 * time.Millisecond, 2 * time.Second
	// One answer has at most so many Services, so that a cluster with thousands costs no memory at once.
	pageSize = 250
	// The API is asked this often at most which pods a headless Service has.
	endpointsAge = time.Second
)

// Directory knows the Services of the cluster at every moment: it watches them. What it knows stays
// while the cluster process is away, since the Services themselves go on. Per Service it keeps names,
// addresses and ports, some hundred bytes.
//
// An informer of client-go would do the same; it brings the types and codecs of the whole API into the
// daemon, and a copy of every field.
type Directory struct {
	kubeconfig func() ([]byte, error)
	log        *slog.Logger

	mu       sync.Mutex
	api      *api
	complete bool // it was listed once
	services map[key]spec
	pods     map[key]pods // of the headless ones that were asked for
}

type key struct{ namespace, name string }

type pods struct {
	slices []slice
	asked  time.Time
}

// NewDirectory asks the cluster of the kubeconfig, which is read when it is needed first.
func NewDirectory(kubeconfig func() ([]byte, error), log *slog.Logger) *Directory {
	return &Directory{kubeconfig: kubeconfig, log: log, services: map[key]spec{}, pods: map[key]pods{}}
}

// Run watches until ctx is done. The cluster may be away at any time.
func (d *Directory) Run(ctx context.Context) error {
	wait, said := shortestWait, ""
	for {
		began := time.Now()
		err := d.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > longestWait { // one that breaks at once is not tried in a tight loop
			wait = shortestWait
		}
		level := slog.LevelDebug
		if fault.Code(err) != "not-running" && err.Error() != said { // not that the cluster is away
			level, said = slog.LevelWarn, err.Error()
		}
		d.log.Log(ctx, level, "The Services are not watched at the moment", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
}

// session lists all Services and follows their changes until the API does not answer any more, or has
// forgotten where we were.
func (d *Directory) session(ctx context.Context) error {
	c, err := d.connect()
	if err != nil {
		return err
	}
	version, err := d.list(ctx, c)
	if err != nil {
		return err
	}
	for {
		last, err := d.watch(ctx, c, version)
		if err != nil {
			return err
		}
		if last == version {
			return errors.New("the watch ended without a word")
		}
		version = last
	}
}

func (d *Directory) connect() (*api, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.api != nil {
		return d.api, nil
	}
	config, err := d.kubeconfig()
	if err != nil {
		return nil, err
	}
	c, err := newAPI(config)
	if err != nil {
		return nil, err
	}
	d.api = c
	return c, nil
}

func (d *Directory) list(ctx context.Context, c *api) (version string, err error) {
	found := map[key]spec{}
	for next := ""; ; {
		// A page that does not come in a while will not come: the watch has no such limit.
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []object `json:"items"`
		}
		err := c.get(limited, fmt.Sprintf("/api/v1/services?limit=%d&continue=%s", pageSize, url.QueryEscape(next)), &page)
		cancel()
		if err != nil {
			return "", err
		}
		for _, o := range page.Items {
			found[key{o.Metadata.Namespace, o.Metadata.Name}] = o.Spec
		}
		if next = page.Metadata.Continue; next == "" {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.services, d.complete = found, true
			return page.Metadata.ResourceVersion, nil
		}
	}
}

// watch returns the version of the last change when the API ends the watch, which it does every few minutes.
func (d *Directory) watch(ctx context.Context, c *api, version string) (string, error) {
	path := "/api/v1/services?watch=1&allowWatchBookmarks=1&resourceVersion=" + url.QueryEscape(version)
	err := c.stream(ctx, path, func(events *json.Decoder) error {
		for {
			var e struct {
				Type   string `json:"type"`
				Object object `json:"object"`
			}
			if err := events.Decode(&e); err != nil {
				return nil //nolint:nilerr // The end of the watch, clean or not: the next one goes on from there.
			}
			if e.Type == "ERROR" {
				return errGone
			}
			version = e.Object.Metadata.ResourceVersion
			d.apply(e.Type, e.Object)
		}
	})
	return version, err
}

func (d *Directory) apply(change string, o object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := key{o.Metadata.Namespace, o.Metadata.Name}
	switch change {
	case "ADDED", "MODIFIED":
		d.services[k] = o.Spec
	case "DELETED":
		delete(d.services, k)
		delete(d.pods, k)
	}
}

// Complete says whether the Services were listed since the start: before that, a name that is not
// found says nothing.
func (d *Directory) Complete() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.complete
}

// Names are NAME.NAMESPACE of the Services that HTTP requests can go to, sorted by namespace and name.
func (d *Directory) Names() []string {
	d.mu.Lock()
	var keys []key
	for k, s := range d.services {
		if _, ok := s.http(); ok && s.Type != "ExternalName" {
			keys = append(keys, k)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(keys, func(a, b key) int {
		if c := strings.Compare(a.namespace, b.namespace); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name + "." + k.namespace
	}
	return names
}

// Backend is where the HTTP requests for a Service go.
type Backend struct {
	Address string // host:port
	TLS     bool
	H2C     bool // it speaks HTTP/2 without TLS, and perhaps nothing else
}

// Find gives the backend of a Service; found is false when there is no such Service. A fault says why a
// Service has no backend.
func (d *Directory) Find(ctx context.Context, namespace, name string) (b Backend, found bool, err error) {
	k := key{namespace, name}
	d.mu.Lock()
	s, found := d.services[k]
	d.mu.Unlock()
	if !found {
		return Backend{}, false, nil
	}
	title := "the service " + namespace + "/" + name
	if s.Type == "ExternalName" {
		return Backend{}, true, &fault.Error{
			Code: "external-name", Summary: fmt.Sprintf("%s stands for the name %s outside the cluster", title, s.ExternalName),
			Hint: "ask that name",
		}
	}
	p, ok := s.http()
	if !ok {
		return Backend{}, true, &fault.Error{
			Code: "no-port", Summary: title + " has no TCP port", Hint: fmt.Sprintf("boxyard url svc/%s -n %s", name, namespace),
		}
	}
	b = Backend{TLS: p.tls(), H2C: p.h2c()}
	if s.ClusterIP != "None" {
		b.Address = net.JoinHostPort(s.ClusterIP, strconv.Itoa(p.Port))
		return b, true, nil
	}
	slices, err := d.endpoints(ctx, k, endpointsAge)
	if err != nil {
		return Backend{}, true, err
	}
	b.Address = podAddress(slices, p)
	if b.Address == "" {
		return Backend{}, true, notReady(k)
	}
	return b, true, nil
}

// podAddress is the first ready pod's. A headless Service has no port of its own: the slices have the pods'.
func podAddress(all []slice, p port) string {
	for _, sl := range all {
		ready := sl.ready()
		i := slices.IndexFunc(sl.Ports, func(candidate port) bool { return candidate.Name == p.Name })
		if i >= 0 && len(ready) > 0 {
			return net.JoinHostPort(ready[0], strconv.Itoa(sl.Ports[i].Port))
		}
	}
	return ""
}

// Unready is a fault when the API says that no endpoint of the Service is ready, and nil otherwise.
func (d *Directory) Unready(ctx context.Context, namespace, name string) error {
	k := key{namespace, name}
	slices, err := d.endpoints(ctx, k, 0)
	if err != nil || readyCount(slices) > 0 {
		return nil //nolint:nilerr // The cluster is away: nothing is known.
	}
	return notReady(k)
}

func notReady(k key) error {
	return &fault.Error{
		Code:    "no-endpoints",
		Summary: fmt.Sprintf("the service %s/%s has no ready endpoints", k.namespace, k.name),
		Hint:    fmt.Sprintf("kubectl -n %s get pods,endpointslices", k.namespace),
	}
}

// endpoints are at most so old, unless the API does not answer: then those that are known.
func (d *Directory) endpoints(ctx context.Context, k key, age time.Duration) ([]slice, error) {
	d.mu.Lock()
	known, ok := d.pods[k]
	d.mu.Unlock()
	if ok && time.Since(known.asked) < age {
		return known.slices, nil
	}
	c, err := d.connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	fresh, err := c.endpoints(ctx, k.namespace, k.name)
	if err != nil {
		if ok {
			return known.slices, nil
		}
		return nil, err
	}
	if age > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, exists := d.services[k]; exists {
			d.pods[k] = pods{fresh, time.Now()}
		}
	}
	return fresh, nil
}
