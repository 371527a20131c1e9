package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const services = "/api/v1/namespaces/default/services"

func serviceGrowth() growth {
	return growth{
		name: "Services", sizes: []int{10, 100, 1000, 5000}, limit: 20 * time.Minute, reach: reachServices,
		curves: []curve{
			memoryCurve("services-memory", "Services"),
			{
				Name: "services-first-packet", What: "The first request to the newest Service from the host: a TCP connection to its ClusterIP, one GET, its answer",
				Unit: inSeconds, samples: 20, sample: firstPacket,
			},
			{
				Name: "services-sync", What: "From the request that creates one more Service to the first answer through its ClusterIP",
				Unit: inSeconds, samples: 5, sample: syncService,
			},
		},
	}
}

// service is as much of a Service as is set or looked at.
type service struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       struct {
		Selector  map[string]string `json:"selector"`
		Ports     []map[string]int  `json:"ports"`
		ClusterIP string            `json:"clusterIP,omitempty"`
	} `json:"spec"`
}

// webService leads to the pods of an app, which serve on port 8080.
func webService(name, app string) service {
	s := service{APIVersion: "v1", Kind: "Service", Metadata: map[string]string{"name": name}}
	s.Spec.Selector = map[string]string{"app": app}
	s.Spec.Ports = []map[string]int{{"port": 80, "targetPort": 8080}}
	return s
}

// nth is one of the addresses beside that of the API, which is the first of the range. Those that are given out come
// from other parts of it.
func nth(first netip.Addr, i int) netip.Addr {
	a := first.As4()
	a[2], a[3] = byte(16+i/256), byte(i%256)
	return netip.AddrFrom4(a)
}

// reachServices: all of them lead to the same two pods, so that the Services are all that there is more of.
// They come with their addresses: those that are to get one wait for each other in kube-apiserver, each for a write to
// etcd (pkg/registry/core/service/ipallocator/cidrallocator.go, AllocateNextService).
func reachServices(ctx context.Context, s *subject, have, size int) error {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return err
	}
	defer k.api.Close()
	if have == 0 {
		if err := k.serveGrown(ctx); err != nil {
			return err
		}
	}
	first, err := k.do(ctx, http.MethodGet, services+"/kubernetes", nil)
	if err != nil {
		return err
	}
	theirs, err := clusterIP(first)
	if err != nil {
		return err
	}
	err = several(ctx, 16, have, size, func(ctx context.Context, i int) error {
		service := webService(fmt.Sprint("grown-", i), "grown")
		service.Spec.ClusterIP = nth(theirs, i).String()
		_, err := k.do(ctx, http.MethodPost, services, service)
		return err
	})
	if err != nil {
		return err
	}
	if err := every(ctx, 200*time.Millisecond, func(ctx context.Context) error { return k.haveSlices(ctx, size) }); err != nil {
		return err
	}
	address, err := k.newest(ctx, size)
	if err != nil {
		return err
	}
	return every(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		_, err := ask(ctx, s, address)
		return err
	})
}

// serveGrown starts two pods with a web server.
func (k kube) serveGrown(ctx context.Context) error {
	const label, count = "app=grown", 2
	_, err := k.becomeReady(ctx, label, count, func() error {
		for i := range count {
			p := k.newPod(fmt.Sprint("grown-", i), "grown")
			p["spec"] = map[string]any{
				"terminationGracePeriodSeconds": 0,
				"containers": []map[string]any{{
					"name": "app", "image": image, "command": []string{"httpd", "-f", "-p", "8080", "-h", "/etc"},
					"readinessProbe": map[string]any{"tcpSocket": map[string]any{"port": 8080}, "periodSeconds": 1},
				}},
			}
			if _, err := k.do(ctx, http.MethodPost, pods, p); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// haveSlices asks whether each Service has its EndpointSlice. A page of one says how many more there are.
func (k kube) haveSlices(ctx context.Context, want int) error {
	answer, err := k.do(ctx, http.MethodGet, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?limit=1", nil)
	if err != nil {
		return err
	}
	var list struct {
		Metadata struct {
			Remaining int `json:"remainingItemCount"`
		} `json:"metadata"`
		Items []struct{} `json:"items"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return err
	}
	// One more is that of the API itself.
	if got := len(list.Items) + list.Metadata.Remaining; got < want+1 {
		return fmt.Errorf("%d EndpointSlices, of %d", got, want+1)
	}
	return nil
}

// newest is the address of the Service that was made last, of size.
func (k kube) newest(ctx context.Context, size int) (string, error) {
	answer, err := k.do(ctx, http.MethodGet, fmt.Sprintf("%s/grown-%d", services, size-1), nil)
	if err != nil {
		return "", err
	}
	return addressOf(answer)
}

// addressOf is the ClusterIP and port of a Service.
func addressOf(service []byte) (string, error) {
	ip, err := clusterIP(service)
	return netip.AddrPortFrom(ip, 80).String(), err
}

func clusterIP(service []byte) (netip.Addr, error) {
	var got struct {
		Spec struct {
			ClusterIP netip.Addr `json:"clusterIP"`
		} `json:"spec"`
	}
	err := json.Unmarshal(service, &got)
	return got.Spec.ClusterIP, err
}

func firstPacket(ctx context.Context, s *subject, size int) (float64, error) {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return 0, err
	}
	defer k.api.Close()
	address, err := k.newest(ctx, size)
	if err != nil {
		return 0, err
	}
	return ask(ctx, s, address)
}

// syncService makes one Service more, and takes it away again.
func syncService(ctx context.Context, s *subject, _ int) (_ float64, err error) {
	// What keeps the rules waits a little after a change for more of them: a user's Service comes alone.
	if err := pause(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	k, err := connected(ctx, s)
	if err != nil {
		return 0, err
	}
	defer k.api.Close()
	begun := time.Now()
	made, err := k.do(ctx, http.MethodPost, services, webService("one-more", "grown"))
	if err != nil {
		return 0, err
	}
	address, err := addressOf(made)
	if err == nil {
		err = until(ctx, func(ctx context.Context) error {
			_, err := ask(ctx, s, address)
			return err
		})
	}
	took := time.Since(begun).Seconds()
	if err != nil {
		return 0, err
	}
	_, err = k.do(ctx, http.MethodDelete, services+"/one-more", nil)
	return took, err
}

// ask gets /hostname and gives how long that took, without the way into the instance. As with shows, no try waits for
// a SYN to be sent again.
func ask(ctx context.Context, s *subject, address string) (float64, error) {
	var took float64
	err := s.in.Inside(func() error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(begun.Add(time.Second))
		if _, err := io.WriteString(conn, "GET /hostname HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		got, err := io.ReadAll(io.LimitReader(conn, 1<<16))
		took = time.Since(begun).Seconds()
		if err == nil && !bytes.Contains(got, []byte("200 OK")) {
			err = fmt.Errorf("%s answers %q", address, got)
		}
		return err
	})
	return took, err
}
