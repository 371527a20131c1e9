package dns

import (
	"context"
	"sync/atomic"

	"github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/kubernetes/object"
	corev1 "k8s.io/api/core/v1"
)

// objects is the unexported interface dnsController of coredns/plugin/kubernetes/controller.go, through which
// the plugin looks up everything that it answers.
//
//nolint:interfacebloat // its size is upstream's
type objects interface {
	ServiceList() []*object.Service
	EndpointsList() []*object.Endpoints
	ServiceImportList() []*object.ServiceImport
	SvcIndex(key string) []*object.Service
	SvcIndexReverse(ip string) []*object.Service
	SvcExtIndexReverse(ip string) []*object.Service
	SvcImportIndex(key string) []*object.ServiceImport
	PodIndex(ip string) []*object.Pod
	EpIndex(key string) []*object.Endpoints
	EpIndexReverse(ip string) []*object.Endpoints
	McEpIndex(key string) []*object.MultiClusterEndpoints

	GetNodeByName(ctx context.Context, name string) (*corev1.Node, error)
	GetNamespaceByName(name string) (*object.Namespace, error)

	Run()
	HasSynced() bool
	Stop() error
	Modified(mode kubernetes.ModifiedMode) int64
}

// source gives the plugin its objects: those of the last run until the informers have read the API once, and
// the informers' from then on, also while the API is away. It outlives reloads of the Corefile.
type source struct {
	live  objects
	saved objects // nil when there is no snapshot

	synced atomic.Bool
}

// LiveSynced says whether the informers have read the API once.
func (s *source) LiveSynced() bool {
	if s.synced.Load() {
		return true
	}
	if !s.live.HasSynced() {
		return false
	}
	s.synced.Store(true)
	return true
}

func (s *source) current() objects {
	if s.saved == nil || s.LiveSynced() {
		return s.live
	}
	return s.saved
}

// HasSynced decides what an unknown name gets: NXDOMAIN, which lets a resolver go on with its search list, or
// SERVFAIL, while we know nothing.
func (s *source) HasSynced() bool { return s.current().HasSynced() }

func (s *source) ServiceList() []*object.Service              { return s.current().ServiceList() }
func (s *source) EndpointsList() []*object.Endpoints          { return s.current().EndpointsList() }
func (s *source) ServiceImportList() []*object.ServiceImport  { return s.current().ServiceImportList() }
func (s *source) SvcIndex(key string) []*object.Service       { return s.current().SvcIndex(key) }
func (s *source) SvcIndexReverse(ip string) []*object.Service { return s.current().SvcIndexReverse(ip) }

func (s *source) SvcExtIndexReverse(ip string) []*object.Service {
	return s.current().SvcExtIndexReverse(ip)
}

func (s *source) SvcImportIndex(key string) []*object.ServiceImport {
	return s.current().SvcImportIndex(key)
}
func (s *source) PodIndex(ip string) []*object.Pod             { return s.current().PodIndex(ip) }
func (s *source) EpIndex(key string) []*object.Endpoints       { return s.current().EpIndex(key) }
func (s *source) EpIndexReverse(ip string) []*object.Endpoints { return s.current().EpIndexReverse(ip) }

func (s *source) McEpIndex(key string) []*object.MultiClusterEndpoints {
	return s.current().McEpIndex(key)
}

func (s *source) GetNodeByName(ctx context.Context, name string) (*corev1.Node, error) {
	return s.live.GetNodeByName(ctx, name)
}

func (s *source) GetNamespaceByName(name string) (*object.Namespace, error) {
	return s.current().GetNamespaceByName(name)
}

func (s *source) Modified(mode kubernetes.ModifiedMode) int64 { return s.current().Modified(mode) }

// Run and Stop are those of the informers.
func (s *source) Run()        { s.live.Run() }
func (s *source) Stop() error { return s.live.Stop() }
