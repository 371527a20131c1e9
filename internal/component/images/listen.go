package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/boxyard/boxyard/internal/fault"
)

// listen opens the mirror's port on loopback.
func listen(ctx context.Context, port int) (net.Listener, error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &fault.Error{
			Code:    "port-in-use",
			Summary: fmt.Sprintf("the image mirror's address %s is in use by another program", address),
			Hint:    fmt.Sprintf("find it: ss -ltnp 'sport = :%d'", port),
			Cause:   err,
		}
	}
	return l, err
}

// serveTLS answers on l until ctx is done. Both sides show certificates of the images CA; they are
// read anew at each connection, so that a renewed one counts at once.
func serveTLS(ctx context.Context, l net.Listener, pkiDir string, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       30 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	// ctx is the base context of requests, so none outlasts it by much.
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return serverConfig(pkiDir)
		},
	}))
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve the image mirror: %w", err)
}

func serverConfig(pkiDir string) (*tls.Config, error) {
	file := func(name string) string { return filepath.Join(pkiDir, "images", name) }
	pair, err := tls.LoadX509KeyPair(file("server.crt"), file("server.key"))
	if err != nil {
		return nil, fmt.Errorf("certificate of the image mirror: %w", err)
	}
	ca, err := os.ReadFile(file("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("certificate of the image mirror: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("certificate of the image mirror: %s holds none", file("ca.crt"))
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		NextProtos:   []string{"http/1.1"},
	}, nil
}
