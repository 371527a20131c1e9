package dns

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/kubernetes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	client "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// directive is the plugin kubernetes with our source of objects.
const directive = "boxyard"

// dialInterval is how often the API's port is tried while it is closed.
const dialInterval = 50 * time.Millisecond

// register makes our directive known. The plugin's own setup is not used since each reload would start
// informers anew; ours belong to s, and are set up by the first.
func register(ctx context.Context, config *rest.Config, s *source, g *guard) {
	plugin.Register(directive, func(c *caddy.Controller) error {
		c.Next()
		k, err := kubernetes.ParseStanza(c)
		if err != nil {
			return plugin.Error(directive, err)
		}
		if s.live == nil {
			k.ClientConfig = fixedConfig{config: config}
			// Its start function is not used: it holds back the server for five seconds when the API is away.
			if _, _, err := k.InitKubeCache(ctx); err != nil {
				return plugin.Error(directive, err)
			}
			s.live = k.APIConn
		}
		k.APIConn = s
		dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
			k.Next = next
			return handler{Handler: g.wrap(k), name: directive}
		})
		return nil
	})
}

// handler names what it holds, so that CoreDNS knows the directive by it.
type handler struct {
	plugin.Handler
	name string
}

func (h handler) Name() string { return h.name }

// clientConfig reads the kubeconfig.
func clientConfig(file string) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	c.ContentType = runtime.ContentTypeProtobuf
	c.UserAgent = "boxyard-dns"
	// A failed request makes client-go's reflectors wait for up to half a minute before the next. One that
	// waits for the port to open goes on at once when the API is back.
	c.Dial = patientDial
	return c, nil
}

func patientDial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	for {
		connection, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return connection, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialInterval):
		}
	}
}

// runInformers runs them from the moment in which the API gives us what we ask for: at the first start of
// all, our rights are made after the port opens.
func runInformers(ctx context.Context, config *rest.Config, s *source, refused func(error)) error {
	api, err := client.NewForConfig(config)
	if err != nil {
		return err
	}
	for {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := api.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(limited, metav1.ListOptions{Limit: 1})
		cancel()
		if err == nil {
			break
		}
		refused(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(dialInterval):
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Stop() })
	defer stop()
	s.Run()
	return nil
}

// fixedConfig is a clientcmd.ClientConfig of which the plugin uses one method.
type fixedConfig struct {
	loader
	config *rest.Config
}

// loader lets the interface be embedded beside its method of the same name.
type loader interface{ clientcmd.ClientConfig }

func (f fixedConfig) ClientConfig() (*rest.Config, error) { return f.config, nil }
