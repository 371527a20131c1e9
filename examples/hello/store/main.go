package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
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
	if err := dispatch(ctx, args, getenv, stdout); err != nil {
		fmt.Fprintf(stderr, "store: %v\n", err)
		return 1
	}
	return 0
}

func dispatch(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	port, data := getenv("PORT"), getenv("DATA")
	if port == "" {
		port = "8081"
	}
	if data == "" {
		data = "/data"
	}
	switch {
	case len(args) == 0:
		return serve(ctx, port, data, getenv("STORE_TOKEN"), stdout)
	case len(args) == 1 && args[0] == "health":
		return health(ctx, port)
	case len(args) == 1 && args[0] == "self-test":
		return selfTest(stdout)
	}
	return errors.New("usage: store [health | self-test]")
}

func serve(ctx context.Context, port, data, token string, stdout io.Writer) error {
	s, err := open(data)
	if err != nil {
		return err
	}
	logger := log.New(stdout, "", log.LstdFlags|log.Lmicroseconds|log.LUTC)
	server := &http.Server{Handler: handler(s, token, logger), ReadHeaderTimeout: 10 * time.Second}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	logger.Printf("listening on port %s, %d keys in %s", port, len(s.values), s.path)

	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(limited); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	logger.Print("goodbye: everything is on disk")
	return nil
}

func handler(s *store, token string, logger *log.Logger) http.Handler {
	answer := func(w http.ResponseWriter, value int64, err error) {
		if err != nil {
			logger.Print(err)
			http.Error(w, "the value could not be kept", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]int64{"value": value})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys/{key}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.get(r.PathValue("key")), nil)
	})
	mux.HandleFunc("PUT /keys/{key}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64))
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusBadRequest)
			return
		}
		value, err := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
		if err != nil {
			http.Error(w, "want a whole number", http.StatusBadRequest)
			return
		}
		value, err = s.update(r.PathValue("key"), func(int64) int64 { return value })
		answer(w, value, err)
	})
	mux.HandleFunc("POST /keys/{key}/increment", func(w http.ResponseWriter, r *http.Request) {
		value, err := s.update(r.PathValue("key"), func(old int64) int64 { return old + 1 })
		answer(w, value, err)
	})
	open := http.NewServeMux()
	open.Handle("/keys/", authenticated(token, mux))
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return open
}

// authenticated asks for the token, where one is set.
func authenticated(token string, next http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "token needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func health(ctx context.Context, port string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func selfTest(stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := open(dir)
	if err != nil {
		return err
	}
	if _, err := s.update("key", func(int64) int64 { return 42 }); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	again, err := open(dir)
	if err != nil {
		return err
	}
	if got := again.get("key"); got != 42 {
		return fmt.Errorf("self-test: wrote 42, read %d", got)
	}
	fmt.Fprintln(stdout, "self-test ok")
	return nil
}
