package networkpolicy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/knftables"
)

// kernel is nft's stand-in, which can be told to refuse.
type kernel struct {
	*knftables.Fake
	mu      sync.Mutex
	refuses error
	runs    int
}

func (k *kernel) Run(ctx context.Context, tx *knftables.Transaction) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs++
	if k.refuses != nil {
		return k.refuses
	}
	return k.Fake.Run(ctx, tx)
}

func (k *kernel) refuse(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuses = err
}

func (k *kernel) dump() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.Dump()
}

// started runs a controller beside a fake API.
func started(t *testing.T, client *fake.Clientset) (*controller, *kernel) {
	t.Helper()
	n := testNode(t)
	c := newController(client, n)
	k := &kernel{Fake: knftables.NewFake(knftables.InetFamily, tableName)}
	c.table.open = func() (knftables.Interface, error) { return k, nil }
	c.resultDir = t.TempDir()
	c.bridging.proc = t.TempDir()
	for _, f := range n.families {
		if err := os.WriteFile(filepath.Join(c.bridging.proc, "bridge-nf-call-"+f.name+"tables"), []byte("0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c, k
}

func until(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (k *kernel) until(t *testing.T, what string, has bool, texts ...string) {
	t.Helper()
	until(t, what, func() error {
		dump := k.dump()
		for _, text := range texts {
			if strings.Contains(dump, text) != has {
				return fmt.Errorf("%q in the table is %v:\n%s", text, !has, dump)
			}
		}
		return nil
	})
}

func denyAll() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "deny"}, Spec: networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	}}
}

func reported(name, ip string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name, UID: "uid"},
		Status:     corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: ip}}, Phase: corev1.PodRunning},
	}
}

func TestTableFollowsTheAPI(t *testing.T) {
	ctx := t.Context()
	client := fake.NewClientset(reported("web", "10.42.0.10"))
	c, k := started(t, client)
	policies := client.NetworkingV1().NetworkPolicies("x")
	until(t, "a table that a predecessor left is removed", func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.runs != 1 {
			return fmt.Errorf("%d transactions", k.runs)
		}
		return nil
	})
	if dump := k.dump(); strings.Contains(dump, tableName) {
		t.Errorf("a table without policies:\n%s", dump)
	}

	if _, err := policies.Create(ctx, denyAll(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until(t, "the pod is isolated", true, "ingress4 { 10.42.0.10 : jump ingress-")
	if got, err := os.ReadFile(filepath.Join(c.bridging.proc, "bridge-nf-call-iptables")); err != nil || string(got) != "1" {
		t.Errorf("bridge-nf-call-iptables is %q, %v", got, err)
	}

	if _, err := client.CoreV1().Pods("x").Create(ctx, reported("late", ""), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	result := `{"cniArgs":[["K8S_POD_UID","uid"]],"result":{"ips":[{"address":"10.42.0.11/22"}]}}`
	if err := os.WriteFile(filepath.Join(c.resultDir, "boxyard-1-eth0"), []byte(result), 0o600); err != nil {
		t.Fatal(err)
	}
	k.until(t, "a pod is isolated before its address is reported", true, "ingress4 { 10.42.0.11 : jump ingress-")

	k.mu.Lock()
	tx := k.NewTransaction()
	remove(tx)
	if err := k.Fake.Run(ctx, tx); err != nil {
		t.Error(err)
	}
	k.mu.Unlock()
	c.lost.Notify()
	k.until(t, "a table that was deleted is made again", true, "ingress4 { 10.42.0.11 : jump ingress-")

	if err := policies.Delete(ctx, "deny", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until(t, "nothing is left without policies", false, tableName)
}

func TestWhatIsNotEnforcedIsSaid(t *testing.T) {
	ctx := t.Context()
	client := fake.NewClientset(reported("web", "10.42.0.10"))
	_, k := started(t, client)
	k.refuse(errors.New("no nftables here"))
	if _, err := client.NetworkingV1().NetworkPolicies("x").Create(ctx, denyAll(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "an event", func() error { return hasEvent(ctx, client, "NotEnforced", "no nftables here") })
	k.refuse(nil)
	k.until(t, "it is tried again", true, "ingress4 { 10.42.0.10 : jump ingress-")
	until(t, "an event", func() error { return hasEvent(ctx, client, "Enforced", "again") })
}

func hasEvent(ctx context.Context, client *fake.Clientset, reason, words string) error {
	events, err := client.CoreV1().Events("x").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, e := range events.Items {
		if e.Reason == reason && strings.Contains(e.Message, words) && e.InvolvedObject.Name == "deny" {
			return nil
		}
	}
	return fmt.Errorf("no event %s with %q among %d", reason, words, len(events.Items))
}

func TestAKernelThatDoesNotFilterBridges(t *testing.T) {
	err := bridging{proc: t.TempDir(), families: bothFamilies()}.check()
	if err == nil || !strings.Contains(err.Error(), "modprobe br_netfilter") {
		t.Errorf("check: %v", err)
	}
}

func TestDeletionOfOurTable(t *testing.T) {
	message := func(kind uint16, table string) []byte {
		name := append([]byte(table), 0)
		size := unix.SizeofNlMsghdr + 4 + unix.SizeofRtAttr + len(name)
		data := binary.NativeEndian.AppendUint32(nil, uint32(size))
		data = binary.NativeEndian.AppendUint16(data, unix.NFNL_SUBSYS_NFTABLES<<8|kind)
		data = append(data, make([]byte, unix.SizeofNlMsghdr-len(data)+4)...)
		data = binary.NativeEndian.AppendUint16(data, uint16(unix.SizeofRtAttr+len(name)))
		data = binary.NativeEndian.AppendUint16(data, 1)
		data = append(data, name...)
		return append(data, make([]byte, -len(data)&3)...)
	}
	other := message(unix.NFT_MSG_DELTABLE, "kube-proxy")
	for name, test := range map[string]struct {
		data []byte
		want bool
	}{
		"ours":         {message(unix.NFT_MSG_DELTABLE, tableName), true},
		"others":       {other, false},
		"both":         {append(other, message(unix.NFT_MSG_DELTABLE, tableName)...), true},
		"its making":   {message(unix.NFT_MSG_NEWTABLE, tableName), false},
		"cut off":      {message(unix.NFT_MSG_DELTABLE, tableName)[:20], false},
		"a short name": {message(unix.NFT_MSG_DELTABLE, ""), false},
	} {
		if got := deletesTable(test.data); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
