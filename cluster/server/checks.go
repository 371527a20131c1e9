package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/node"
)

const (
	protobuf = "application/vnd.kubernetes.protobuf"
	poll     = 25 * time.Millisecond
)

// checks ask each part whether it is ready, as a neighbour would.
type checks struct {
	config  config.Cluster
	http    *http.Client
	client  atomicClient // of the API, once it has been ready
	settled atomic.Bool  // everything has been ready once
}

type atomicClient struct {
	p atomic.Pointer[kubernetes.Clientset]
}

func (a *atomicClient) Store(c *kubernetes.Clientset) { a.p.Store(c) }
func (a *atomicClient) Load() *kubernetes.Clientset   { return a.p.Load() }

func newChecks(c config.Cluster) *checks {
	pool := x509.NewCertPool()
	if ca, err := os.ReadFile(c.PKI("ca.crt")); err == nil {
		pool.AppendCertsFromPEM(ca)
	}
	return &checks{config: c, http: &http.Client{Transport: &http.Transport{
		Proxy:           nil,         // these are our own ports
		IdleConnTimeout: time.Second, // while it starts, a connection is used again
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}}
}

// until calls check until it returns nil; the error is that of ctx. failed, which may be nil, gets each failure.
func (*checks) until(ctx context.Context, check func(context.Context) error, failed func(error)) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := check(limited)
		cancel()
		if err == nil {
			return nil
		}
		if failed != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// apiAnswers is sooner than apiReady: the hooks may still run.
func (*checks) apiAnswers(ctx context.Context, client *kubernetes.Clientset) error {
	return client.RESTClient().Get().AbsPath("/livez/ping").Do(ctx).Error()
}

func (*checks) apiReady(ctx context.Context, client *kubernetes.Clientset) error {
	body, err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
	if err == nil {
		return nil
	}
	var failed []string
	for line := range strings.Lines(string(body)) {
		if rest, found := strings.CutPrefix(line, "[-]"); found {
			name, _, _ := strings.Cut(rest, " ")
			failed = append(failed, name)
		}
	}
	if len(failed) == 0 {
		return err
	}
	return errors.New("waiting for " + strings.Join(failed, ", "))
}

// controllerManager is ready when it has built its controllers, which it then names in its health
// (cmd/kube-controller-manager/app: BuildControllers).
func (c *checks) controllerManager(ctx context.Context) error {
	body, err := c.get(ctx, "https://127.0.0.1:10257/healthz?verbose")
	if err == nil && !bytes.Contains(body, []byte("[+]"+names.PersistentVolumeAttachDetachController+" ")) {
		err = errors.New("it has not built its controllers yet")
	}
	return err
}

func (c *checks) scheduler(ctx context.Context) error {
	_, err := c.get(ctx, "https://127.0.0.1:10259/readyz")
	return err
}

func (c *checks) kubelet(ctx context.Context) error {
	_, err := c.get(ctx, "http://127.0.0.1:10248/healthz")
	return err
}

// proxyAllowed asks whether kube-proxy may do what it does first.
func (*checks) proxyAllowed(ctx context.Context, client kubernetes.Interface) error {
	review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               node.ProxyUser,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if !review.Status.Allowed {
		return errors.New(node.ProxyUser + " may not get nodes yet")
	}
	return nil
}

// proxy is ready when it is healthy and has written the rules of every family of addresses once.
func (c *checks) proxy(ctx context.Context) error {
	if _, err := c.get(ctx, "http://"+node.ProxyHealthAddress+"/livez"); err != nil {
		return err
	}
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}[:len(c.config.NodeIPs)] {
		if !node.ProxyWrote(family) {
			return fmt.Errorf("it has not written its rules for %s yet", family)
		}
	}
	return nil
}

func (c *checks) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, errors.Unwrap(err) // without the URL, which says nothing to a user
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("its health check says " + response.Status)
	}
	return body, nil
}

// runtime asks containerd's CRI for its version, as the kubelet does first.
func (c *checks) runtime(ctx context.Context) error {
	var dialer net.Dialer
	plain, err := dialer.DialContext(ctx, "unix", c.config.CRISocket)
	if err != nil {
		return err // shorter than what gRPC makes of it
	}
	_ = plain.Close()
	connection, err := grpc.NewClient("unix://"+c.config.CRISocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	if _, err = runtimeapi.NewRuntimeServiceClient(connection).Version(ctx, &runtimeapi.VersionRequest{}); err != nil {
		return errors.New(grpcstatus.Convert(err).Message())
	}
	return nil
}
