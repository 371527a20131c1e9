package server

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/informer"
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
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(informer.WithoutManagedFields))
	services := factory.Core().V1().Services()
	watch := services.Informer()
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
		watch.RunWithContext(ctx)
		return nil
	}))
	s.clients.start("load balancers", usable(func(ctx context.Context) error { return loadbalancer.Run(ctx, client, services, balancers) }))
	s.clients.start("node ports", usable(func(ctx context.Context) error { return nodeport.Run(ctx, services, ports) }))
	return nil
}

func reachOptions(c config.Cluster) (loadbalancer.Options, nodeport.Options, error) {
	var errs [3]error
	balancers := loadbalancer.Options{APIPort: c.APIPort, DNSPort: c.DNSPort}
	ports := nodeport.Options{}
	balancers.NodeIPs, errs[0] = config.Addresses(c.NodeIPs)
	balancers.Pools, errs[1] = config.Prefixes(c.LoadBalancerPools)
	ports.NodeIPs = balancers.NodeIPs
	ports.PodCIDRs, errs[2] = config.Prefixes(c.PodCIDRs)
	if err := errors.Join(errs[:]...); err != nil {
		return loadbalancer.Options{}, nodeport.Options{}, fmt.Errorf("addresses of Services: %w", err)
	}
	return balancers, ports, nil
}
