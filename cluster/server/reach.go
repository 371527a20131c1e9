package server

import (
	"context"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/loadbalancer"
	"github.com/boxyard/boxyard/cluster/nodeport"
)

// startReach starts what makes Services reachable beyond what kube-proxy does. Both follow one list of Services.
func (s *server) startReach(controllers *rest.Config) error {
	own := rest.CopyConfig(controllers)
	own.QPS = -1 // a hundred Services that come together get their addresses together; the API has its own limits
	client, err := kubernetes.NewForConfig(own)
	if err != nil {
		return fmt.Errorf("client for Services: %w", err)
	}
	balancers, ports, err := reachOptions(s.config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	services := factory.Core().V1().Services()
	informer := services.Informer()
	usable := func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-s.usable:
				return run(ctx)
			}
		}
	}
	s.clients.start("services", usable(func(ctx context.Context) error {
		informer.RunWithContext(ctx)
		return nil
	}))
	s.clients.start("load balancers", usable(func(ctx context.Context) error { return loadbalancer.Run(ctx, client, services, balancers) }))
	s.clients.start("node ports", usable(func(ctx context.Context) error { return nodeport.Run(ctx, services, ports) }))
	return nil
}

// withoutManagedFields saves half of the memory that a Service takes.
func withoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

func reachOptions(c config.Cluster) (loadbalancer.Options, nodeport.Options, error) {
	balancers := loadbalancer.Options{APIPort: c.APIPort, DNSPort: c.DNSPort}
	ports := nodeport.Options{}
	for i, text := range c.NodeIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return balancers, ports, fmt.Errorf("node address: %w", err)
		}
		pods, err := netip.ParsePrefix(c.PodCIDRs[i])
		if err != nil {
			return balancers, ports, fmt.Errorf("pod range: %w", err)
		}
		balancers.NodeIPs, ports.NodeIPs, ports.PodCIDRs = append(balancers.NodeIPs, ip), append(ports.NodeIPs, ip), append(ports.PodCIDRs, pods)
	}
	for _, text := range c.LoadBalancerPools {
		pool, err := netip.ParsePrefix(text)
		if err != nil {
			return balancers, ports, fmt.Errorf("pool of load balancer addresses: %w", err)
		}
		balancers.Pools = append(balancers.Pools, pool)
	}
	return balancers, ports, nil
}
