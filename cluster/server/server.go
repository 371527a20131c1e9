package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"github.com/boxyard/boxyard/cluster/bootstrap"
	"github.com/boxyard/boxyard/cluster/controlplane"
	"github.com/boxyard/boxyard/cluster/imagesinuse"
	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/follow"
	"github.com/boxyard/boxyard/cluster/metrics"
	"github.com/boxyard/boxyard/cluster/networkpolicy"
	"github.com/boxyard/boxyard/cluster/node"
	"github.com/boxyard/boxyard/cluster/status"
	"github.com/boxyard/boxyard/cluster/storage"
)

// The parts, in the order in which they become ready; status names the first that is not.
const (
	partEtcd       = "etcd"
	partAPI        = "kube-apiserver"
	partRoles      = "roles"
	partObjects    = "objects"
	partController = "kube-controller-manager"
	partScheduler  = "kube-scheduler"
	partKubelet    = "kubelet"
	partNode       = "node"
	partProxy      = "kube-proxy"
)

const (
	// The sum is below the ten seconds that the process has for its end.
	stopClients, stopAPI, stopEtcd = 2 * time.Second, 4 * time.Second, 3 * time.Second
)

// server is one run of the process.
type server struct {
	config   config.Cluster
	board    *status.Board
	checks   *checks
	identity *rest.Config // the identity of our own controllers
	volumes  *storage.Controller
	usage    *metrics.Metrics
	storage  *stage
	api      *stage
	clients  *stage
	usable   chan struct{} // closed when the API is ready and has its roles
	thrift   *thrift
}

// Run blocks until ctx is done, and then returns nil, or until a part has ended, and then returns why.
func Run(ctx context.Context, c config.Cluster) error {
	debug.SetGCPercent(startGC)
	if err := os.MkdirAll(c.RunDir, 0o700); err != nil {
		return fmt.Errorf("make the runtime directory: %w", err)
	}
	if err := controlplane.Setup(c); err != nil {
		return err
	}
	identity, err := clientcmd.BuildConfigFromFlags("", c.PKI("controllers.kubeconfig"))
	if err != nil {
		return fmt.Errorf("client for our controllers: %w", err)
	}
	identity.ContentType = protobuf
	volumes, err := storage.New(ctx, identity, c.NodeName, c.VolumesDir)
	if err != nil {
		return err
	}
	run, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	s := &server{
		config:   c,
		identity: identity,
		volumes:  volumes,
		usage:    metrics.New(),
		storage:  newStage(ctx, failed),
		api:      newStage(ctx, failed),
		clients:  newStage(ctx, failed),
		usable:   make(chan struct{}),
		thrift:   newThrift(c.Fast(config.FastIdle)),
	}
	s.checks = newChecks(c)
	s.board = status.New(s.recheck, partEtcd, partAPI, partRoles, partObjects, partController, partScheduler, partKubelet, partNode, partProxy)
	s.storage.start("status", func(ctx context.Context) error { return s.board.Serve(ctx, c.Run("status.sock")) })
	etcd := controlplane.NewEtcd()
	s.storage.start(partEtcd, func(ctx context.Context) error {
		return etcd.Run(ctx, c, func() { s.ready(partEtcd) })
	})
	s.startAPI(etcd)

	<-run.Done()
	s.clients.stop("clients of the API", stopClients)
	s.api.stop("API", stopAPI)
	s.storage.stop("storage", stopEtcd)
	if err := context.Cause(run); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *server) startAPI(etcd *controlplane.Etcd) {
	s.board.Wait(partAPI, "etcd")
	s.api.start(partAPI, func(ctx context.Context) error {
		return controlplane.RunAPIServer(ctx, s.config, etcd, s.usage, controlplane.Hooks{
			Configured: func(loopback *rest.Config) {
				s.clients.try("start of the clients", func(ctx context.Context) error { return s.startClients(ctx, loopback) })
			},
			Writes: s.thrift.rouse,
		})
	})
}

// startClients starts what talks to the API as soon as it can: the kubelet when the API answers, since the Node
// authorizer needs no roles, and the others when the roles are there.
func (s *server) startClients(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return fmt.Errorf("client for the API: %w", err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.config.APIPort))
	s.board.Wait(partAPI, "kube-apiserver to listen on "+address)
	if s.checks.until(ctx, func(ctx context.Context) error { return s.checks.apiAnswers(ctx, client) }, nil) != nil {
		return nil // only a stop ends it
	}
	klog.InfoS("The API answers")
	services, err := apiregistration.NewForConfig(loopback)
	if err != nil {
		return fmt.Errorf("client for the API's registration: %w", err)
	}
	s.clients.try("our objects", func(ctx context.Context) error { return s.ownObjects(ctx, client, services) })
	s.clients.start(partKubelet, s.kubelet)
	s.clients.start(partNode, func(ctx context.Context) error { return s.watchNode(ctx, client) })

	if bootstrap.UntilRoles(ctx, client, func(err error) { s.board.Wait(partRoles, err.Error()) }) != nil {
		return nil
	}
	s.ready(partRoles)
	if s.checks.until(ctx, func(ctx context.Context) error { return s.checks.apiReady(ctx, client) }, func(err error) {
		s.board.Wait(partAPI, "kube-apiserver to be ready ("+err.Error()+")")
	}) != nil {
		return nil
	}
	s.checks.client.Store(client)
	s.ready(partAPI)
	close(s.usable)
	c := s.config
	s.clients.start(partController, func(ctx context.Context) error { return controlplane.RunControllerManager(ctx, c) })
	s.clients.start(partScheduler, func(ctx context.Context) error { return controlplane.RunScheduler(ctx, c) })
	s.probe(partController, s.checks.controllerManager, func(ctx context.Context) error { return node.ClaimCSI(ctx, c) })
	s.probe(partScheduler, s.checks.scheduler)
	return nil
}

// probe looks at a part until it is ready for the first time, and then does what is to follow it.
func (s *server) probe(part string, check func(context.Context) error, then ...func(context.Context) error) {
	s.clients.try(part, func(ctx context.Context) error {
		if s.checks.until(ctx, check, func(err error) { s.board.Wait(part, part+" to be ready ("+err.Error()+")") }) != nil {
			return nil // only a stop ends it
		}
		s.ready(part)
		for _, next := range then {
			if err := next(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *server) ownObjects(ctx context.Context, client kubernetes.Interface, services apiregistration.APIServicesGetter) error {
	if bootstrap.Run(ctx, client, services, s.config, func(err error) {
		s.board.Wait(partObjects, "the first objects ("+err.Error()+")")
	}) != nil {
		return nil // only a stop ends it
	}
	s.ready(partObjects)
	s.clients.start("images in use", func(ctx context.Context) error {
		return imagesinuse.Run(ctx, s.identity, s.config.NodeName, s.config.ImagesInUseFile)
	})
	s.clients.start("network policies", func(ctx context.Context) error {
		return networkpolicy.Run(ctx, s.identity, s.config)
	})
	s.clients.start("volumes", func(ctx context.Context) error { return s.volumes.Run(ctx) })
	return s.startReach(s.identity)
}

// kubelet waits for the container runtime, without which the kubelet would end the process.
func (s *server) kubelet(ctx context.Context) error {
	if s.checks.until(ctx, s.checks.runtime, func(err error) { s.board.Wait(partKubelet, "containerd ("+err.Error()+")") }) != nil {
		return nil // only a stop ends it
	}
	last := follow.Look(s.config.ResolvConf)
	if err := node.WriteResolvConf(s.config); err != nil {
		return err
	}
	s.clients.start("resolv.conf", func(ctx context.Context) error { return node.FollowResolvConf(ctx, s.config, last) })
	s.board.Wait(partKubelet, "kubelet to answer on 127.0.0.1:10248")
	s.probe(partKubelet, s.checks.kubelet)
	return node.RunKubelet(ctx, s.config)
}

// ready notes that a part has become ready. When it was the last, the memory of the start goes back.
func (s *server) ready(part string) {
	klog.InfoS("Ready", "part", part)
	s.board.Ready(part)
	if !s.board.All() || !s.checks.settled.CompareAndSwap(false, true) {
		return
	}
	klog.InfoS("The cluster is ready", "node", s.config.NodeName)
	s.clients.start("resource metrics", func(ctx context.Context) error { return s.usage.Collect(ctx, s.identity) })
	s.clients.try("memory", s.thrift.keep)
}

// recheck looks again, when the daemon asks, at what may have failed without an end of its part.
func (s *server) recheck(ctx context.Context) {
	client := s.checks.client.Load()
	if client == nil {
		return
	}
	s.note(partAPI, s.checks.apiReady(ctx, client))
	if s.checks.settled.Load() {
		s.note(partKubelet, s.checks.kubelet(ctx))
		s.note(partProxy, s.checks.proxy(ctx))
	}
}

func (s *server) note(part string, err error) {
	if err != nil {
		s.board.Wait(part, part+" to be ready ("+err.Error()+")")
		return
	}
	s.board.Ready(part)
}
