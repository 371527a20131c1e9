package service

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const slices2 = `[
 {"ports":[{"name":"","port":8080}],"endpoints":[{"addresses":["10.42.0.9"],"conditions":{"ready":true}},{"addresses":["10.42.0.8"]},{"addresses":["10.42.0.7"],"conditions":{"ready":false}}]},
 {"ports":[{"name":"","port":8080}],"endpoints":[{"addresses":["fd42::9"],"conditions":{"ready":true}}]}]`

func TestResolve(t *testing.T) {
	for name, tt := range map[string]struct {
		svc, slices string
		want        Addresses
	}{
		"cluster IP, dual stack": {
			`{"spec":{"type":"ClusterIP","clusterIP":"10.43.1.2","clusterIPs":["10.43.1.2","fd42::2"],"ports":[{"port":80}]}}`, slices2,
			Addresses{Type: "ClusterIP", URLs: []string{"http://10.43.1.2:80", "http://[fd42::2]:80"}, Ready: 2},
		},
		"node port": {
			`{"spec":{"type":"NodePort","clusterIP":"10.43.1.2","ports":[{"name":"https","port":8443,"nodePort":30001},{"protocol":"UDP","port":53,"nodePort":30002}]}}`, slices2,
			Addresses{Type: "NodePort", URLs: []string{"https://10.43.1.2:8443", "10.43.1.2:53/udp", "https://10.42.0.1:30001", "10.42.0.1:30002/udp"}, Ready: 2},
		},
		"load balancer": {
			`{"spec":{"type":"LoadBalancer","clusterIP":"10.43.1.2","ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"10.42.0.1"}]}}}`, slices2,
			Addresses{Type: "LoadBalancer", URLs: []string{"http://10.43.1.2:80", "http://10.42.0.1:80"}, Ready: 2},
		},
		"headless": {
			`{"spec":{"type":"ClusterIP","clusterIP":"None","ports":[{"port":80}]}}`, slices2,
			Addresses{Type: "ClusterIP", URLs: []string{"http://10.42.0.8:8080", "http://10.42.0.9:8080", "http://[fd42::9]:8080"}, Ready: 2},
		},
		"nothing ready": {
			`{"spec":{"type":"ClusterIP","clusterIP":"10.43.1.2","ports":[{"port":80}]}}`, `[]`,
			Addresses{Type: "ClusterIP", URLs: []string{"http://10.43.1.2:80"}, Note: "service ns/web has no ready endpoints: nothing answers there now; see: kubectl -n ns get pods"},
		},
		"external name": {
			`{"spec":{"type":"ExternalName","externalName":"example.org"}}`, `[]`,
			Addresses{Type: "ExternalName", URLs: []string{"example.org"}, Note: "service ns/web stands for the name example.org outside the cluster"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var svc object
			var all []slice
			if err := json.Unmarshal([]byte(tt.svc), &svc); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.slices), &all); err != nil {
				t.Fatal(err)
			}
			svc.Metadata.Name = "web"
			tt.want.Namespace, tt.want.Name = "ns", "web"
			if d := cmp.Diff(tt.want, resolve("ns", svc, all, []string{"10.42.0.1", "fd42:b0c5:42::1"})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNear(t *testing.T) {
	got := near("wbe", []string{"kubernetes", "web", "database", "wbe-store"}, 2)
	if d := cmp.Diff([]string{"wbe-store", "web"}, got); d != "" {
		t.Error(d)
	}
}
