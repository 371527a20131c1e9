package controlapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/boxyard/boxyard/internal/disk"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/registry"
)

// Client talks to the daemon at one socket. It keeps no connection; there is nothing to close.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client. It does not connect yet.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{
		socket: socket,
		http:   &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	}
}

// Status asks for a snapshot. A daemon that is not there is the fault "not-running".
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Versions asks for the versions of everything that the daemon runs.
func (c *Client) Versions(ctx context.Context) (map[string]string, error) {
	var v map[string]string
	err := c.call(ctx, http.MethodGet, "/v1/version", nil, &v)
	return v, err
}

// Disk asks what uses the disk.
func (c *Client) Disk(ctx context.Context) (disk.Report, error) {
	var r disk.Report
	err := c.call(ctx, http.MethodGet, "/v1/disk", nil, &r)
	return r, err
}

// Registry changes the registry of this machine; the zero Change only asks.
func (c *Client) Registry(ctx context.Context, change registry.Change) (registry.State, error) {
	var s registry.State
	err := c.call(ctx, http.MethodPost, "/v1/registry", change, &s)
	return s, err
}

// Down stops everything and returns when it has stopped. The daemon goes on when ctx ends first.
func (c *Client) Down(ctx context.Context, r DownRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/down", r, nil)
}

// Restart restarts one component.
func (c *Client) Restart(ctx context.Context, component string) error {
	return c.call(ctx, http.MethodPost, "/v1/restart?component="+url.QueryEscape(component), nil, nil)
}

// Events calls each with every event, past ones first, until each returns false, ctx ends or the
// daemon does; the last is io.ErrUnexpectedEOF.
func (c *Client) Events(ctx context.Context, each func(Event) bool) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	dec := json.NewDecoder(body)
	for {
		var e Event
		if err := dec.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return io.ErrUnexpectedEOF
		}
		if !each(e) {
			return nil
		}
	}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if out == nil {
		_, err := io.Copy(io.Discard, body)
		return err
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// do returns the body of a 2xx answer, for the caller to close.
func (c *Client) do(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://boxyard"+path, &body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode/100 == 2 {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	var e Error
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return nil, fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	return nil, e.Fault()
}

// closedUnasked is an error of net/http that it does not export (transport.go, errServerClosedIdle): the connection was
// closed before the request was written.
func closedUnasked(err error) bool {
	return strings.Contains(err.Error(), "server closed idle connection")
}

// unreachable tells a daemon that is not there from one that this user may not talk to.
func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), closedUnasked(err): // it has just ended
		return &fault.Error{Code: "not-running", Summary: "Boxyard is not running", Hint: "sudo boxyard up", Exit: fault.ExitNotRunning}
	case errors.Is(err, os.ErrPermission):
		return &fault.Error{
			Code:    "needs-root",
			Summary: fmt.Sprintf("no permission to use %s", c.socket),
			Hint:    "run it with sudo, or once `sudo boxyard up` as this user, which gives this user access",
			Exit:    fault.ExitNeedsRoot,
		}
	default:
		return fmt.Errorf("talk to the daemon: %w", err)
	}
}
