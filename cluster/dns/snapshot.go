package dns

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/kubernetes/object"
	corev1 "k8s.io/api/core/v1"

	"github.com/boxyard/boxyard/cluster/internal/atomicfile"
)

// snapshot is the content of the snapshot file: what is needed to answer for Services, and no more.
type snapshot struct {
	Services []service `json:"services"`
}

type service struct {
	Name         string     `json:"name"`
	Namespace    string     `json:"namespace"`
	Type         string     `json:"type,omitempty"`
	ClusterIPs   []string   `json:"clusterIPs,omitempty"`
	ExternalName string     `json:"externalName,omitempty"`
	Ports        []port     `json:"ports,omitempty"`
	Endpoints    []endpoint `json:"endpoints,omitempty"` // of a headless Service only
}

type port struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Port     int32  `json:"port"`
}

type endpoint struct {
	Addresses []address `json:"addresses"`
	Ports     []port    `json:"ports"`
}

type address struct {
	IP       string `json:"ip"`
	Hostname string `json:"hostname,omitempty"`
}

// take reads the objects. It is sorted, so that equal objects make equal files.
func take(o objects) snapshot {
	s := snapshot{Services: []service{}}
	for _, svc := range o.ServiceList() {
		s.Services = append(s.Services, service{
			Name: svc.Name, Namespace: svc.Namespace, Type: string(svc.Type),
			ClusterIPs: svc.ClusterIPs, ExternalName: svc.ExternalName,
			Ports: takeServicePorts(svc.Ports), Endpoints: takeEndpoints(o, svc),
		})
	}
	slices.SortFunc(s.Services, func(a, b service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return s
}

func takeServicePorts(from []corev1.ServicePort) []port {
	var ports []port
	for _, p := range from {
		ports = append(ports, port{Name: p.Name, Protocol: string(p.Protocol), Port: p.Port})
	}
	return ports
}

func takeEndpoints(o objects, svc *object.Service) []endpoint {
	if len(svc.ClusterIPs) == 0 || !svc.Headless() {
		return nil
	}
	slicesOf := o.EpIndex(svc.Index)
	slices.SortFunc(slicesOf, func(a, b *object.Endpoints) int { return strings.Compare(a.Name, b.Name) })
	var endpoints []endpoint
	for _, e := range slicesOf {
		for _, subset := range e.Subsets {
			var taken endpoint
			for _, a := range subset.Addresses {
				taken.Addresses = append(taken.Addresses, address{IP: a.IP, Hostname: a.Hostname})
			}
			for _, p := range subset.Ports {
				taken.Ports = append(taken.Ports, port{Name: p.Name, Protocol: p.Protocol, Port: p.Port})
			}
			if len(taken.Addresses) > 0 {
				endpoints = append(endpoints, taken)
			}
		}
	}
	return endpoints
}

// load returns nil when there is no file; the first start has none.
func load(file string) (*saved, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no snapshot is no error
	}
	if err != nil {
		return nil, fmt.Errorf("read the snapshot of the names: %w", err)
	}
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("decode %s: %w", file, err)
	}
	return index(s), nil
}

// save replaces the file atomically, and only when it differs.
func save(file string, s snapshot) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(file, data)
}

// saved is a snapshot as the plugin kubernetes looks it up. It never changes.
type saved struct {
	services   map[string][]*object.Service // by name.namespace
	addresses  map[string][]*object.Service // by cluster IP
	endpoints  map[string][]*object.Endpoints
	hosts      map[string][]*object.Endpoints // by endpoint IP
	namespaces map[string]struct{}
}

func index(s snapshot) *saved {
	out := &saved{
		services: map[string][]*object.Service{}, addresses: map[string][]*object.Service{},
		endpoints: map[string][]*object.Endpoints{}, hosts: map[string][]*object.Endpoints{},
		namespaces: map[string]struct{}{},
	}
	for _, from := range s.Services {
		if len(from.ClusterIPs) == 0 {
			from.ClusterIPs = []string{""} // as object.ToService has it for a Service of type ExternalName
		}
		key := object.ServiceKey(from.Name, from.Namespace)
		svc := &object.Service{
			Name: from.Name, Namespace: from.Namespace, Index: key, Type: corev1.ServiceType(from.Type),
			ClusterIPs: from.ClusterIPs, ExternalName: from.ExternalName,
		}
		for _, p := range from.Ports {
			svc.Ports = append(svc.Ports, corev1.ServicePort{Name: p.Name, Protocol: corev1.Protocol(p.Protocol), Port: p.Port})
		}
		out.namespaces[from.Namespace] = struct{}{}
		out.services[key] = append(out.services[key], svc)
		for _, ip := range from.ClusterIPs {
			out.addresses[ip] = append(out.addresses[ip], svc)
		}
		for _, e := range from.Endpoints {
			out.addEndpoint(key, from, e)
		}
	}
	return out
}

func (s *saved) addEndpoint(key string, of service, e endpoint) {
	var subset object.EndpointSubset
	for _, a := range e.Addresses {
		subset.Addresses = append(subset.Addresses, object.EndpointAddress{IP: a.IP, Hostname: a.Hostname})
	}
	for _, p := range e.Ports {
		subset.Ports = append(subset.Ports, object.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: p.Port})
	}
	endpoints := &object.Endpoints{Name: of.Name, Namespace: of.Namespace, Index: key, Subsets: []object.EndpointSubset{subset}}
	s.endpoints[key] = append(s.endpoints[key], endpoints)
	for _, a := range subset.Addresses {
		endpoints.IndexIP = append(endpoints.IndexIP, a.IP)
		s.hosts[a.IP] = append(s.hosts[a.IP], endpoints)
	}
}

func (s *saved) SvcIndex(key string) []*object.Service            { return s.services[key] }
func (s *saved) SvcIndexReverse(ip string) []*object.Service      { return s.addresses[ip] }
func (s *saved) EpIndex(key string) []*object.Endpoints           { return s.endpoints[key] }
func (s *saved) EpIndexReverse(ip string) []*object.Endpoints     { return s.hosts[ip] }
func (s *saved) HasSynced() bool                                  { return true }
func (s *saved) Run()                                             {}
func (s *saved) Stop() error                                      { return nil }
func (s *saved) Modified(kubernetes.ModifiedMode) int64           { return 0 }
func (s *saved) SvcExtIndexReverse(string) []*object.Service      { return nil }
func (s *saved) SvcImportIndex(string) []*object.ServiceImport    { return nil }
func (s *saved) ServiceImportList() []*object.ServiceImport       { return nil }
func (s *saved) PodIndex(string) []*object.Pod                    { return nil }
func (s *saved) McEpIndex(string) []*object.MultiClusterEndpoints { return nil }

func (s *saved) ServiceList() []*object.Service { return values(s.services) }

func (s *saved) EndpointsList() []*object.Endpoints { return values(s.endpoints) }

func values[T any](lists map[string][]T) []T {
	var all []T
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func (s *saved) GetNodeByName(context.Context, string) (*corev1.Node, error) {
	return nil, errors.New("not known while the API is away")
}

// GetNamespaceByName knows the namespaces that have Services; those of the others have nothing to answer.
func (s *saved) GetNamespaceByName(name string) (*object.Namespace, error) {
	if _, found := s.namespaces[name]; !found {
		return nil, errors.New("namespace not found")
	}
	return &object.Namespace{Name: name}, nil
}
