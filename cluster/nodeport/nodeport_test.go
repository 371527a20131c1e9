package nodeport

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/knftables"

	"github.com/boxyard/boxyard/cluster/internal/golden"
)

func options(n int) Options {
	return Options{
		NodeIPs:  []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42:b0c5:42::1")}[:n],
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42:b0c5:42::/48")}[:n],
	}
}

func TestRulesAreGolden(t *testing.T) {
	ports := []port{{corev1.ProtocolTCP, 30080}, {corev1.ProtocolUDP, 30080}}
	for name, o := range map[string]Options{"dual.nft": options(2), "single.nft": options(1)} {
		nft := knftables.NewFake(knftables.InetFamily, Table)
		tx := nft.NewTransaction()
		o.replace(tx, ports)
		golden.Equal(t, name, tx.String())
	}
}

// broken fails while it is on.
type broken struct {
	*knftables.Fake
	on bool
}

func (b *broken) Run(ctx context.Context, tx *knftables.Transaction) error {
	if b.on {
		return errors.New("no nft today")
	}
	return b.Fake.Run(ctx, tx)
}

func (b *broken) ports(t *testing.T) int {
	t.Helper()
	b.RLock()
	defer b.RUnlock()
	if b.Table == nil {
		return -1
	}
	return len(b.Table.Sets[portsSet].Elements)
}

func (b *broken) expect(t *testing.T, when string, want int) {
	t.Helper()
	time.Sleep(2 * time.Second)
	synctest.Wait()
	if got := b.ports(t); got != want {
		t.Errorf("%s: %d ports, want %d (-1: no table)", when, got, want)
	}
}

func withPorts(name string, kind corev1.ServiceType, numbers ...int32) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{Type: kind}}
	for _, n := range numbers {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Protocol: protocol, Port: 80, NodePort: n})
		}
	}
	return svc
}

func TestTableFollowsServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := fake.NewClientset()
		services := client.CoreV1().Services("default")
		factory := informers.NewSharedInformerFactory(client, 0)
		informer := factory.Core().V1().Services().Informer()
		nft := &broken{Fake: knftables.NewFake(knftables.InetFamily, Table)}
		opened := 0
		ended := make(chan error, 2)
		go func() {
			ended <- run(ctx, factory.Core().V1().Services(), options(2), func() (knftables.Interface, error) {
				if opened++; opened == 1 {
					return nil, errors.New("not yet")
				}
				return nft, nil
			})
		}()
		go func() { informer.RunWithContext(ctx); ended <- nil }()

		create := func(svc *corev1.Service) {
			if _, err := services.Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		remove := func(name string) {
			if err := services.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		create(withPorts("inside", corev1.ServiceTypeClusterIP, 0))
		nft.expect(t, "no node port", -1)
		create(withPorts("a", corev1.ServiceTypeNodePort, 30001, 30002))
		nft.expect(t, "two of TCP and two of UDP", 4)
		create(withPorts("b", corev1.ServiceTypeLoadBalancer, 30003))
		nft.expect(t, "a load balancer's", 6)
		nft.on = true
		remove("b")
		nft.expect(t, "while nft fails", 6)
		nft.on = false
		nft.expect(t, "after a retry", 4)

		// A firewall that is loaded anew.
		tx := nft.NewTransaction()
		tx.Delete(&knftables.Table{})
		if err := nft.Fake.Run(ctx, tx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookAgain)
		nft.expect(t, "made again", 4)

		remove("a")
		nft.expect(t, "the last has gone", -1)
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}
