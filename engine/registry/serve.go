package registry

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

// Run serves what the file after --config says until ctx is done. args[0] is the program's name.
func Run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "registry.json")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	c, err := load(*file)
	if err != nil {
		return err
	}
	logrus.SetLevel(logrus.ErrorLevel)
	return serve(ctx, c)
}

// serve returns when ctx is done and requests have ended, or when a listener fails.
func serve(ctx context.Context, c Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &servers{}
	defer s.close()
	if c.Port != 0 {
		if err := s.main(ctx, c); err != nil {
			return err
		}
	}
	if len(c.Caches) > 0 {
		caches := http.NewServeMux()
		for _, cache := range c.Caches {
			if err := cache.serve(ctx, c.DataDir, caches); err != nil {
				return fmt.Errorf("cache of %s: %w", cache.Name, err)
			}
		}
		config, err := c.cacheTLS()
		if err != nil {
			return err
		}
		if err := s.listen(ctx, c.Addresses[:1], c.CachePort, caches, config); err != nil {
			return err
		}
	}
	if err := s.status(ctx, c.statusSocket()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// main serves the registry of this machine.
func (s *servers) main(ctx context.Context, c Config) error {
	dir := filepath.Join(c.DataDir, "main")
	if c.Prune {
		if err := prune(ctx, dir); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	handler, err := registry(ctx, dir, c.Htpasswd)
	if err != nil {
		return err
	}
	return s.listen(ctx, c.Addresses, c.Port, handler, c.tls())
}

// registry is one that can be pushed to.
func registry(ctx context.Context, dir, htpasswd string) (http.Handler, error) {
	config := base(dir)
	if htpasswd != "" {
		config.Auth = configuration.Auth{"htpasswd": {"realm": "Boxyard", "path": htpasswd}}
	}
	app, err := newApp(ctx, config)
	if err != nil {
		return nil, err
	}
	return newReferrers(app, dir), nil
}

// base is the configuration of every registry here.
func base(dir string) *configuration.Configuration {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": {"rootdirectory": dir},
			"delete":     {"enabled": true},
			"redirect":   {"disable": true},
			// Uploads that broke off are of no use after a day.
			"maintenance": {"uploadpurging": map[any]any{"enabled": true, "age": "24h", "interval": "6h", "dryrun": false}},
		},
		Validation: configuration.Validation{Manifests: configuration.ValidationManifests{
			// Layers that may not be distributed are named by their addresses.
			URLs: configuration.URLs{Allow: []string{"^https?://"}},
			// An index may be pushed with some of its platforms only: a machine has what it built or pulled.
			Indexes: configuration.ValidationIndexes{Platforms: "none"},
		}},
	}
	config.Catalog.MaxEntries = 1000 // the library's default, which it has only for a configuration that it reads itself
	// It signs the state of an upload, which ends with this process.
	config.HTTP.Secret = rand.Text()
	return config
}

// newApp turns the library's panics over a configuration into errors.
func newApp(ctx context.Context, config *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("registry: %v", r)
		}
	}()
	return handlers.NewApp(ctx, config), nil
}

func (c Config) tls() *tls.Config {
	if c.CertFile == "" {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: fromFiles(c.CertFile, c.KeyFile)}
}

// cacheTLS lets in who may read the client's key: dockerd and containerd, which are root's.
func (c Config) cacheTLS() (*tls.Config, error) {
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", c.ClientCA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: fromFiles(c.CacheCert, c.CacheKey),
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// fromFiles reads at each handshake: certificates are renewed in place.
func fromFiles(cert, key string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, err
	}
}

// servers are closed together.
type servers struct {
	all    []*http.Server
	failed chan error
	serve  sync.WaitGroup
}

func (s *servers) listen(ctx context.Context, addresses []string, port int, handler http.Handler, config *tls.Config) error {
	for i, address := range addresses {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, fmt.Sprint(port)))
		if i > 0 && missing(address, err) {
			continue
		}
		if err != nil {
			return err
		}
		if config != nil {
			listener = tls.NewListener(listener, config)
		}
		s.start(listener, handler)
	}
	return nil
}

// missing: a machine without IPv6 has no ::1.
func missing(address string, err error) bool {
	a, parsed := netip.ParseAddr(address)
	return parsed == nil && a.Is6() && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT))
}

func (s *servers) start(listener net.Listener, handler http.Handler) {
	if s.failed == nil {
		s.failed = make(chan error, 16)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	s.all = append(s.all, server)
	s.serve.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	})
}

// status answers as every process of Boxyard does (ARCHITECTURE.md, contracts): it listens last, so it is ready.
func (s *servers) status(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	s.start(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, strings.NewReader(`{"ready":true}`))
	}))
	return nil
}

// close gives requests a moment to end.
func (s *servers) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, server := range s.all {
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
	s.serve.Wait()
}
