package frontdoor

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// connection is one of a client's. It has connections to backends of its own, as many as the client
// would have made itself: so kube-proxy balances and keeps affinity as it does for anybody, and nothing
// is kept open to a backend when the client has gone.
type connection struct {
	*net.TCPConn // not net.Conn: what a hijacked connection copies, the kernel may then move by itself

	mu         sync.Mutex
	plain, h2c *http.Transport // made when they are needed
}

func newConnection(conn *net.TCPConn) *connection { return &connection{TCPConn: conn} }

// Close implements net.Conn.
func (c *connection) Close() error {
	c.mu.Lock()
	for _, t := range []*http.Transport{c.plain, c.h2c} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
	c.mu.Unlock()
	return c.TCPConn.Close()
}

// transport is for one kind of backend. HTTP/2 without TLS cannot be negotiated: it has to be known.
func (c *connection) transport(h2c bool) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	into := &c.plain
	if h2c {
		into = &c.h2c
	}
	if *into == nil {
		*into = newTransport(h2c)
	}
	return *into
}

func newTransport(h2c bool) *http.Transport {
	var protocols http.Protocols
	if h2c {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true) // over TLS, where it is negotiated
	}
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		Protocols:             &protocols,
		DisableCompression:    true, // what the client did not ask for is not done in its name
		ExpectContinueTimeout: time.Second,
		// Shorter than the keep-alive of common servers (5 s): a request that cannot be sent twice must not
		// meet a connection that its server is just closing.
		IdleConnTimeout:     4 * time.Second,
		MaxIdleConnsPerHost: 16,
		// A backend's certificate names it as its other clients know it, not by the address that is dialled.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true},
	}
}

type connectionKey struct{}

func withConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// transportOf is that of the connection on which the request with this context came.
func transportOf(ctx context.Context, h2c bool) (http.RoundTripper, bool) {
	c, ok := ctx.Value(connectionKey{}).(*connection)
	if !ok {
		return nil, false
	}
	return c.transport(h2c), true
}
