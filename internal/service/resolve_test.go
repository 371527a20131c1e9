package service

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/reach"
)

const slices2 = `[
 {"ports":[{"name":"","port":8080}],"endpoints":[{"addresses":["10.42.0.9"],"conditions":{"ready":true}},{"addresses":["10.42.0.8"]},{"addresses":["10.42.0.7"],"conditions":{"ready":false}}]},
 {"ports":[{"name":"","port":8080}],"endpoints":[{"addresses":["fd42::9"],"conditions":{"ready":true}}]}]`

func TestResolve(t *testing.T) {
	door := reach.Way{Kind: reach.FrontDoor, URL: "http://web.ns.localhost", Address: "127.0.0.1:80", Host: "web.ns.localhost"}
	for name, tt := range map[string]struct {
		svc, slices string
		want        Addresses
	}{
		"cluster IP, dual stack": {
			`{"spec":{"type":"ClusterIP","clusterIP":"10.43.1.2","clusterIPs":["10.43.1.2","fd42::2"],"ports":[{"port":80}]}}`, slices2,
			Addresses{Type: "ClusterIP", Ways: []reach.Way{
				{Kind: reach.ClusterIP, URL: "http://10.43.1.2:80"}, {Kind: reach.ClusterIP, URL: "http://[fd42::2]:80"}, door,
			}, Ready: 2},
		},
		"the port that is meant comes first": {
			`{"spec":{"type":"ClusterIP","clusterIP":"10.43.1.2","ports":[{"name":"metrics","port":9090},{"name":"http","port":3000}]}}`, slices2,
			Addresses{Type: "ClusterIP", Ways: []reach.Way{
				{Kind: reach.ClusterIP, URL: "http://10.43.1.2:3000"}, {Kind: reach.ClusterIP, URL: "http://10.43.1.2:9090"}, door,
			}, Ready: 2},
		},
		"node port": {
			`{"spec":{"type":"NodePort","clusterIP":"10.43.1.2","ports":[{"name":"https","port":8443,"nodePort":30001},{"protocol":"UDP","port":53,"nodePort":30002}]}}`, slices2,
			Addresses{Type: "NodePort", Ways: []reach.Way{
				{Kind: reach.ClusterIP, URL: "https://10.43.1.2:8443"},
				{Kind: reach.ClusterIP, URL: "10.43.1.2:53/udp"},
				door,
				{Kind: reach.NodePort, URL: "https://127.0.0.1:30001"},
				{Kind: reach.NodePort, URL: "127.0.0.1:30002/udp"},
				{Kind: reach.NodePort, URL: "https://10.42.0.1:30001"},
				{Kind: reach.NodePort, URL: "10.42.0.1:30002/udp"},
			}, Ready: 2},
		},
		"load balancer": {
			`{"spec":{"type":"LoadBalancer","clusterIP":"10.43.1.2","ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"10.42.0.1"}]}}}`, slices2,
			Addresses{Type: "LoadBalancer", Ways: []reach.Way{
				{Kind: reach.ClusterIP, URL: "http://10.43.1.2:80"}, door, {Kind: reach.LoadBalancer, URL: "http://10.42.0.1:80"},
			}, Ready: 2},
		},
		"headless": {
			`{"spec":{"type":"ClusterIP","clusterIP":"None","ports":[{"port":80}]}}`, slices2,
			Addresses{Type: "ClusterIP", Ways: []reach.Way{
				{Kind: reach.Pod, URL: "http://10.42.0.8:8080"}, {Kind: reach.Pod, URL: "http://10.42.0.9:8080"}, {Kind: reach.Pod, URL: "http://[fd42::9]:8080"}, door,
			}, Ready: 2},
		},
		"nothing ready, UDP only": {
			`{"spec":{"type":"ClusterIP","clusterIP":"10.43.1.2","ports":[{"protocol":"UDP","port":53}]}}`, `[]`,
			Addresses{Type: "ClusterIP", Ways: []reach.Way{{Kind: reach.ClusterIP, URL: "10.43.1.2:53/udp"}}, Note: "service ns/web has no ready endpoints: nothing answers there now; see: kubectl -n ns get pods"},
		},
		"external name": {
			`{"spec":{"type":"ExternalName","externalName":"example.org"}}`, `[]`,
			Addresses{Type: "ExternalName", Ways: []reach.Way{{Kind: reach.ExternalName, URL: "example.org"}}, Note: "service ns/web stands for the name example.org outside the cluster"},
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
			tt.want.Namespace, tt.want.Name, tt.want.URLs = "ns", "web", reach.URLs(tt.want.Ways)
			if d := cmp.Diff(tt.want, resolve("ns", svc, all, []string{"10.42.0.1", "fd42:b0c5:42::1"}, 80)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHTTPPort(t *testing.T) {
	for name, tt := range map[string]struct {
		ports []port
		want  int
		tls   bool
		h2c   bool
	}{
		"by name":            {[]port{{Name: "metrics", Port: 80}, {Name: "http", Port: 9000}}, 9000, false, false},
		"by name and suffix": {[]port{{Name: "admin", Port: 8080}, {Name: "http-api", Port: 9000}}, 9000, false, false},
		"web":                {[]port{{Name: "traefik", Port: 9000}, {Name: "web", Port: 8000}}, 8000, false, false},
		"by appProtocol":     {[]port{{Name: "a", Port: 80}, {Name: "b", Port: 81, AppProtocol: "HTTP"}}, 81, false, false},
		"80":                 {[]port{{Name: "a", Port: 8080}, {Name: "b", Port: 80}}, 80, false, false},
		"8080":               {[]port{{Name: "a", Port: 5432}, {Name: "b", Port: 8080}}, 8080, false, false},
		"the first":          {[]port{{Name: "a", Port: 5000, Protocol: "TCP"}, {Name: "b", Port: 5001}}, 5000, false, false},
		"not UDP":            {[]port{{Name: "http", Port: 80, Protocol: "UDP"}, {Name: "b", Port: 5001}}, 5001, false, false},
		"not TLS":            {[]port{{Name: "https", Port: 443}, {Name: "b", Port: 5001}}, 5001, false, false},
		"only TLS by number": {[]port{{Port: 443}}, 443, true, false},
		"only TLS by name":   {[]port{{Name: "https-web", Port: 8443}}, 8443, true, false},
		"TLS by appProtocol": {[]port{{Name: "http", AppProtocol: "https", Port: 8000}}, 8000, true, false},
		"443 without TLS":    {[]port{{Name: "http", Port: 443}}, 443, false, false},
		"gRPC":               {[]port{{Name: "grpc", Port: 9000}}, 9000, false, true},
		"h2c":                {[]port{{Name: "a", Port: 80}, {Name: "b", Port: 81, AppProtocol: "kubernetes.io/h2c"}}, 81, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := spec{Ports: tt.ports}.http()
			if !ok || p.Port != tt.want || p.tls() != tt.tls || p.h2c() != tt.h2c {
				t.Errorf("got %+v, %v, tls %v, h2c %v", p, ok, p.tls(), p.h2c())
			}
		})
	}
	if _, ok := (spec{Ports: []port{{Port: 53, Protocol: "UDP"}}}).http(); ok {
		t.Error("a Service without TCP has an HTTP port")
	}
}
