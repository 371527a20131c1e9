// Command registry is an OCI registry in memory for tests that push and pull: over plain HTTP or TLS, with a password or
// a client's certificate where that is asked for, and with the faults of bad days.
//
//	registry 127.0.0.1:5000
//	registry -cert tls.crt -key tls.key -client-ca ca.crt -user tester -password secret 127.0.0.1:5443
//
// GET /_fault?kind=hang (see fault.go) makes it fail from then on, /_fault?kind= ends that, and /_log gives a line for
// each request: method, path, Range, status and bytes sent.
package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	cert := flag.String("cert", "", "serve TLS with this certificate")
	key := flag.String("key", "", "its key")
	clientCA := flag.String("client-ca", "", "ask clients for a certificate of this authority")
	user := flag.String("user", "", "ask for this user")
	password := flag.String("password", "", "and this password")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("usage: registry [flags] ADDRESS")
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", flag.Arg(0))
	if err != nil {
		return err
	}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	if *user != "" {
		handler = protected(handler, *user, *password)
	}
	server := http.Server{Handler: newFaulty(handler), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	if *cert == "" {
		return server.Serve(listener)
	}
	if server.TLSConfig, err = tlsConfig(*clientCA); err != nil {
		return err
	}
	return server.ServeTLS(listener, *cert, *key)
}

func tlsConfig(clientCA string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if clientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, err
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", clientCA)
	}
	return config, nil
}

func protected(next http.Handler, user, password string) http.Handler {
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); ok && same(u, user) && same(p, password) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	})
}
