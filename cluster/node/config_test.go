package node

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/golden"
)

const root = "../.."

func TestConfigurationsAreGolden(t *testing.T) {
	c := golden.Cluster(t, root)
	for name, configuration := range map[string]any{
		"kubelet.yaml":           kubeletConfiguration(c),
		"kube-proxy.yaml":        proxyConfiguration(c),
		"kube-proxy.single.yaml": proxyConfiguration(golden.SingleStack(c)),
	} {
		data, err := yaml.Marshal(configuration)
		if err != nil {
			t.Fatal(err)
		}
		golden.Equal(t, name, string(data))
	}
}

func TestPodResolvConf(t *testing.T) {
	tests := map[string]struct{ host, want string }{
		"missing":  {"", "nameserver 10.43.0.10\n"},
		"comments": {"# made by hand\n; and this\n\n", "nameserver 10.43.0.10\n"},
		"as it is": {"nameserver 192.0.2.1\nsearch example.com\noptions edns0\n", "nameserver 192.0.2.1\nsearch example.com\noptions edns0\n"},
		"systemd-resolved": {
			"nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n",
			"options edns0 trust-ad\nsearch lan\nnameserver 10.43.0.10\n",
		},
		"one of two": {"nameserver ::1\nnameserver 2001:db8::1\n", "nameserver 2001:db8::1\n"},
		"nonsense":   {"nameserver\nnameserver here\nnameserver 0.0.0.0\n", "nameserver 10.43.0.10\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := string(podResolvConf([]byte(test.host), []string{"10.43.0.10"})); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
