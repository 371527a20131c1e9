package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// adminHandler serves `web ctl`. It listens on the container's own loopback only, so whoever
// may exec into the container may use it, and nobody else.
func (s *site) adminHandler() http.Handler {
	verbs := map[string]func(){
		"ready":   func() { s.ready.Store(true) },
		"unready": func() { s.ready.Store(false) },
		"hang":    func() { s.hung.Store(true) },
		"unhang":  func() { s.hung.Store(false) },
		"crash":   func() { go s.crash() },
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ctl/{verb}", func(w http.ResponseWriter, r *http.Request) {
		verb := r.PathValue("verb")
		do, ok := verbs[verb]
		if !ok {
			http.Error(w, fmt.Sprintf("unknown verb %q", verb), http.StatusNotFound)
			return
		}
		do()
		s.logf("ctl %s", verb)
		fmt.Fprintf(w, "%s: done\n", verb)
	})
	return mux
}

// crash ends the process as a bug would. It leaves the time for ctl to get its answer.
func (s *site) crash() {
	time.Sleep(100 * time.Millisecond)
	s.logf("crashing, as asked")
	os.Exit(3)
}

// control is the client side of `web ctl`.
func control(ctx context.Context, admin, verb string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admin+"/ctl/"+verb, nil)
	if err != nil {
		return err
	}
	return do(req, stdout)
}

// get fails unless the URL answers with 2xx.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return do(req, io.Discard)
}

func do(req *http.Request, stdout io.Writer) error {
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	_, err = stdout.Write(body)
	return err
}

// selfTest renders the page from the assets as they are in the image.
func selfTest(set settings, stdout io.Writer) error {
	s, err := newSite(set, io.Discard)
	if err != nil {
		return err
	}
	if s.version == "" {
		return fmt.Errorf("self-test: %s/version is empty", set.assets)
	}
	var page bytes.Buffer
	want := view{Greeting: "<greeting>", Version: s.version, Host: "host", Motd: "motd", Count: 42}
	if err := s.page.Execute(&page, want); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	for _, text := range []string{"&lt;greeting&gt;", s.version, "host", "motd", "42"} {
		if !strings.Contains(page.String(), text) {
			return fmt.Errorf("self-test: the page does not show %q", text)
		}
	}
	style, err := gzip.NewReader(bytes.NewReader(s.style))
	if err != nil {
		return fmt.Errorf("self-test: style sheet: %w", err)
	}
	if _, err := io.Copy(io.Discard, style); err != nil {
		return fmt.Errorf("self-test: style sheet: %w", err)
	}
	fmt.Fprintf(stdout, "self-test ok: version %s\n", s.version)
	return nil
}
