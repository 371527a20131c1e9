package networkpolicy

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestWhoseAddress(t *testing.T) {
	at := func(second int64) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(time.Unix(second, 0)) }
	}
	older := apiPod(t, "a", "older", nil, []string{"10.0.0.1"}, at(1))
	younger := apiPod(t, "a", "younger", nil, []string{"10.0.0.1"}, at(2))
	unreported := apiPod(t, "a", "unreported", nil, nil, at(3))
	ended := apiPod(t, "a", "ended", nil, []string{"10.0.0.1"}, func(p *corev1.Pod) { at(4)(p); p.Status.Phase = corev1.PodFailed })
	one := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	for name, test := range map[string]struct {
		sandboxes map[types.UID][]netip.Addr
		want      map[string]string
	}{
		"the younger of two": {want: map[string]string{"10.0.0.1": "younger"}},
		"a sandbox' own, before the kubelet reports it": {
			sandboxes: map[types.UID][]netip.Addr{unreported.UID: one}, want: map[string]string{"10.0.0.1": "unreported"},
		},
		"the older's, if its sandbox has it": {
			sandboxes: map[types.UID][]netip.Addr{older.UID: one}, want: map[string]string{"10.0.0.1": "older"},
		},
		"never that of one that has ended": {
			sandboxes: map[types.UID][]netip.Addr{ended.UID: one}, want: map[string]string{"10.0.0.1": "younger"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, p := range own([]*pod{ended, younger, unreported, older}, test.sandboxes) {
				for _, a := range p.addresses {
					got[a.String()] = p.Name
				}
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSandboxes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	result := func(uid, address string) string {
		return `{"kind":"cniCacheV1","containerId":"c","networkName":"boxyard","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_UID","` + uid +
			`"]],"result":{"cniVersion":"1.0.0","ips":[{"address":"` + address + `/22","interface":2}]}}`
	}
	write("boxyard-1-eth0", result("one", "10.42.0.7"))
	write("cni-loopback-1-lo", result("one", "127.0.0.1"))
	write("other", "no JSON")
	changed := make(chan struct{}, 100)
	s := &sandboxes{dir: dir, changed: func() { changed <- struct{}{} }}
	if err := s.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := func(want map[types.UID]string) {
		t.Helper()
		limit := time.After(10 * time.Second)
		for {
			got := map[types.UID]string{}
			for uid, addresses := range s.addresses() {
				for _, a := range addresses {
					got[uid] += a.String()
				}
			}
			if maps.Equal(got, want) {
				return
			}
			select {
			case <-changed:
			case <-limit:
				t.Fatalf("addresses: %v, want %v", got, want)
			}
		}
	}
	until(map[types.UID]string{"one": "10.42.0.7"})
	write("boxyard-2-eth0", result("two", "10.42.0.8"))
	until(map[types.UID]string{"one": "10.42.0.7", "two": "10.42.0.8"})
	if err := os.Remove(filepath.Join(dir, "boxyard-1-eth0")); err != nil {
		t.Fatal(err)
	}
	until(map[types.UID]string{"two": "10.42.0.8"})
}
