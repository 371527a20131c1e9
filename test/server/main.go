package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: server grpc | https")
	}
	switch args[0] {
	case "grpc":
		return serveGRPC(ctx)
	case "https":
		return serveHTTPS(ctx)
	default:
		return fmt.Errorf("unknown mode %q", args[0])
	}
}

func serveGRPC(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", ":50051")
	if err != nil {
		return err
	}
	states := health.NewServer()
	states.SetServingStatus("up", healthv1.HealthCheckResponse_SERVING)
	states.SetServingStatus("down", healthv1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, states)
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}

func serveHTTPS(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /validate", validate)
	mux.HandleFunc("POST /convert", convert)
	registerAPI(mux)
	server := &http.Server{Addr: ":8443", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServeTLS("/tls/tls.crt", "/tls/tls.key"); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
