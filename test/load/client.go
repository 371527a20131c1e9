package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// client sends one request at a time, over one connection that it keeps in KeepAlive mode.
type client struct {
	plan     Plan
	host     string // as in the URL, without the port
	port     string
	request  []byte
	resolver *net.Resolver
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)

	conn   net.Conn
	reader *bufio.Reader
}

func newClient(plan Plan, target *url.URL) *client {
	c := &client{plan: plan, host: target.Hostname(), port: target.Port(), dial: plan.Dial, resolver: net.DefaultResolver}
	if c.port == "" {
		c.port = "80"
	}
	if c.dial == nil {
		c.dial = new(net.Dialer).DialContext
	}
	if plan.DNS != "" {
		c.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return c.dial(ctx, network, plan.DNS)
		}}
	}
	connection := "keep-alive"
	if plan.Mode == New {
		connection = "close"
	}
	c.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: boxyard-load\r\nConnection: %s\r\n\r\n",
		target.RequestURI(), target.Host, connection)
	return c
}

// get sends one request and returns the answer's status, and an error unless it is 2xx with
// the expected body.
func (c *client) get(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.plan.Timeout)
	defer cancel()
	if c.plan.LookupEach && !c.stale() {
		if _, err := c.lookup(ctx); err != nil {
			return 0, err
		}
	}
	if err := c.connect(ctx); err != nil {
		return 0, err
	}
	status, keep, err := c.exchange(ctx)
	if err != nil || !keep || c.plan.Mode == New {
		c.close()
	}
	return status, err
}

func (c *client) exchange(ctx context.Context) (status int, keep bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return 0, false, fmt.Errorf("deadline: %w", err)
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, false, fmt.Errorf("write: %w", err)
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, false, fmt.Errorf("read: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	if err != nil {
		return resp.StatusCode, false, fmt.Errorf("read the body: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, !resp.Close, errors.New(resp.Status)
	}
	if !bytes.Contains(body, []byte(c.plan.Expect)) {
		return resp.StatusCode, !resp.Close, fmt.Errorf("the body lacks %q", c.plan.Expect)
	}
	return resp.StatusCode, !resp.Close, nil
}

// connect opens a connection unless there is one that the server has not closed.
func (c *client) connect(ctx context.Context) error {
	if !c.stale() {
		return nil
	}
	c.close()
	addr, err := c.lookup(ctx)
	if err != nil {
		return err
	}
	conn, err := c.dial(ctx, "tcp", net.JoinHostPort(addr, c.port))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	return nil
}

// stale says that there is no usable connection. A server may close an idle one at any time; a
// client has to look before it writes (RFC 9112, 9.3.1).
func (c *client) stale() bool {
	if c.conn == nil {
		return true
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(100 * time.Microsecond)); err != nil {
		return true
	}
	_, err := c.reader.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// lookup returns an address of the host. It prefers IPv4, as every platform here has it.
func (c *client) lookup(ctx context.Context) (string, error) {
	if net.ParseIP(c.host) != nil {
		return c.host, nil
	}
	addrs, err := c.resolver.LookupNetIP(ctx, "ip", c.host)
	if err != nil {
		return "", fmt.Errorf("lookup: %w", err)
	}
	for _, addr := range addrs {
		if addr.Unmap().Is4() {
			return addr.Unmap().String(), nil
		}
	}
	return addrs[0].String(), nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn, c.reader = nil, nil
	}
}
