package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	set, err := readSettings(getenv)
	if err == nil {
		err = dispatch(ctx, args, set, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "web: %v\n", err)
		return 1
	}
	return 0
}

func dispatch(ctx context.Context, args []string, set settings, stdout io.Writer) error {
	switch {
	case len(args) == 0:
		return serve(ctx, set, stdout)
	case len(args) == 1 && args[0] == "self-test":
		return selfTest(set, stdout)
	case len(args) == 1 && args[0] == "health":
		return get(ctx, "http://127.0.0.1:"+set.port+"/healthz")
	case len(args) == 2 && args[0] == "ctl":
		return control(ctx, set.admin, args[1], stdout)
	}
	return errors.New("usage: web [self-test | health | ctl ready|unready|hang|unhang|crash]")
}

type settings struct {
	port, admin          string
	greeting, motd       string
	storeURL, storeToken string
	assets               string
	drain                time.Duration
	logBytes             int
}

func readSettings(getenv func(string) string) (settings, error) {
	env := func(key, fallback string) string {
		if value := getenv(key); value != "" {
			return value
		}
		return fallback
	}
	drain, err := time.ParseDuration(env("DRAIN", "500ms"))
	if err != nil || drain < 0 || drain > time.Minute {
		return settings{}, fmt.Errorf("DRAIN=%q: want a duration from 0s to 1m", getenv("DRAIN"))
	}
	logBytes, err := strconv.Atoi(env("LOG_BYTES", "0"))
	if err != nil || logBytes < 0 || logBytes > 8192 {
		return settings{}, fmt.Errorf("LOG_BYTES=%q: want a number from 0 to 8192", getenv("LOG_BYTES"))
	}
	return settings{
		port:       env("PORT", "8080"),
		admin:      env("ADMIN", "127.0.0.1:8090"),
		greeting:   env("GREETING", "Hello from the boxyard"),
		motd:       env("MOTD", "/etc/hello/motd.txt"),
		storeURL:   getenv("STORE_URL"),
		storeToken: getenv("STORE_TOKEN"),
		assets:     env("ASSETS", "/srv"),
		drain:      drain,
		logBytes:   logBytes,
	}, nil
}

// serve runs the public server and the control server until ctx is done, and then drains.
func serve(ctx context.Context, set settings, stdout io.Writer) error {
	s, err := newSite(set, stdout)
	if err != nil {
		return err
	}
	public := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	admin := &http.Server{Handler: s.adminHandler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 2)
	for addr, server := range map[string]*http.Server{":" + set.port: public, set.admin: admin} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		go func() { ended <- server.Serve(listener) }()
	}
	s.logf("%s listening on port %s, version %s", s.host, set.port, s.version)
	s.ready.Store(true)

	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	return s.drain(public, set.drain)
}

// drain ends the server without a failed request. Whoever routes to us learns late that we
// leave, so we first go on serving: not ready any more, and with `Connection: close` on each
// answer, which moves keep-alive clients elsewhere at a moment when they have nothing in
// flight. (http.Server.SetKeepAlivesEnabled would also cut idle connections at once, in a race
// with the next request on them.) Then nobody is left to be surprised by the closed port.
func (s *site) drain(server *http.Server, length time.Duration) error {
	s.logf("asked to stop: not ready any more, serving for another %v", length)
	s.draining.Store(true)
	time.Sleep(length)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	s.logf("goodbye: served %d requests", s.served.Load())
	return nil
}
