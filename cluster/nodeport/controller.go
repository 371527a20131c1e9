package nodeport

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"

	"github.com/boxyard/boxyard/cluster/internal/informer"
)

const (
	// lookAgain is how often the table is looked for, as long as there should be one: a firewall that is
	// loaded anew may take all tables away. kube-proxy looks as often.
	lookAgain = 30 * time.Second
	// firstRetry and lastRetry bound the pauses between attempts that fail.
	firstRetry, lastRetry = time.Second, 30 * time.Second
)

// keeper keeps the table like the list of ports.
type keeper struct {
	o      Options
	open   func() (knftables.Interface, error)
	nft    knftables.Interface // once there was something to write
	lister corelisters.ServiceLister

	known   bool   // what the table has is known: written
	written []port // no ports, no table
}

// Run follows the Services until ctx is done. Somebody else starts the informer. The table stays.
func Run(ctx context.Context, services coreinformers.ServiceInformer, o Options) error {
	return run(ctx, services, o, func() (knftables.Interface, error) { return knftables.New(knftables.InetFamily, Table) })
}

func run(ctx context.Context, services coreinformers.ServiceInformer, o Options, open func() (knftables.Interface, error)) error {
	changed := informer.NewSignal()
	registration, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed.Notify() },
		UpdateFunc: func(_, _ any) { changed.Notify() },
		DeleteFunc: func(any) { changed.Notify() },
	})
	if err != nil {
		return fmt.Errorf("watch for node ports: %w", err)
	}
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	k := &keeper{o: o, open: open, lister: services.Lister()}
	k.keep(ctx, changed)
	return nil
}

func (k *keeper) keep(ctx context.Context, changed <-chan struct{}) {
	pause := firstRetry
	for ctx.Err() == nil {
		var again <-chan time.Time
		switch err := k.sync(ctx); {
		case err != nil && ctx.Err() == nil:
			klog.ErrorS(err, "Write the node ports on loopback addresses", "retry", pause)
			again = time.After(pause)
			pause = min(2*pause, lastRetry)
		case len(k.written) > 0:
			pause, again = firstRetry, time.After(lookAgain)
		default:
			pause = firstRetry
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again:
			k.look(ctx)
		}
	}
}

// sync writes what differs from what was written last.
func (k *keeper) sync(ctx context.Context) error {
	ports, err := k.wanted()
	if err != nil {
		return err
	}
	if k.known && slices.Equal(ports, k.written) {
		return nil
	}
	if k.nft == nil {
		if k.nft, err = k.open(); err != nil {
			k.nft = nil
			return err
		}
	}
	tx := k.nft.NewTransaction()
	switch {
	case len(ports) == 0:
		remove(tx)
	case k.known && len(k.written) > 0:
		update(tx, ports)
	default:
		k.o.replace(tx, ports)
	}
	if err := k.nft.Run(ctx, tx); err != nil {
		k.known = false
		return err
	}
	k.known, k.written = true, ports
	return nil
}

// look finds out whether the table is still there, whole.
func (k *keeper) look(ctx context.Context) {
	if !k.known || k.nft == nil {
		return
	}
	rules, err := k.nft.ListRules(ctx, "")
	if err != nil || len(rules) != k.o.rules() {
		k.known = false
	}
}

// wanted is sorted. SCTP is left out: no kernel at hand has it, so nothing could show that it works.
func (k *keeper) wanted() ([]port, error) {
	all, err := k.lister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	var ports []port
	for _, svc := range all {
		for _, p := range svc.Spec.Ports {
			if p.NodePort != 0 && (p.Protocol == corev1.ProtocolTCP || p.Protocol == corev1.ProtocolUDP) {
				ports = append(ports, port{p.Protocol, p.NodePort})
			}
		}
	}
	slices.SortFunc(ports, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.protocol, b.protocol))
	})
	return slices.Compact(ports), nil
}
