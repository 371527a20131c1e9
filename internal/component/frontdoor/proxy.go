package frontdoor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// forward sends the request on. The backend sees the Host that the client sent; what it would see of
// the client itself is in X-Forwarded-For, -Host and -Proto, which the client cannot set.
func (h *handler) forward(w http.ResponseWriter, r *http.Request, t target) {
	transport, ok := transportOf(r.Context(), !t.tls && (t.h2c || isGRPC(r)))
	if !ok {
		h.refuse(w, r, page{status: http.StatusInternalServerError, title: "This request came on no connection"})
		return
	}
	if r.ProtoMajor == 1 {
		// Or the server would read the rest of the request itself once the backend begins to answer.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	proxy := httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // at once: who streams means it
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = &url.URL{
				Scheme: scheme(t), Host: t.address,
				Path: p.In.URL.Path, RawPath: p.In.URL.RawPath,
				RawQuery: p.In.URL.RawQuery, ForceQuery: p.In.URL.ForceQuery,
			}
			p.Out.Host = p.In.Host
			p.SetXForwarded()
			// An upgrade to HTTP/2 without TLS is obsolete (RFC 9113, 3.1), and would be a tunnel past us.
			if strings.EqualFold(p.Out.Header.Get("Upgrade"), "h2c") {
				for _, name := range []string{"Upgrade", "Connection", "HTTP2-Settings"} {
					p.Out.Header.Del(name)
				}
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { h.failed(w, r, t, err) },
		ErrorLog:     slog.NewLogLogger(h.log.Handler(), slog.LevelDebug), // of clients that have gone
	}
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.ContentLength == 0 {
			// Without a body there is nothing to be early with, and flushed headers could not end the stream any
			// more. gRPC tells of many failures by headers that do.
			proxy.FlushInterval = 0
		}
		return nil
	}
	proxy.ServeHTTP(w, r)
}

func scheme(t target) string {
	if t.tls {
		return "https"
	}
	return "http"
}

// isGRPC: such a request needs HTTP/2 to the end, with its trailers.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// failed says why there is no answer.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, t target, err error) {
	h.log.Debug("No answer from a backend", "target", t.title, "address", t.address, "error", err)
	if t.unready != nil {
		if why := t.unready(r.Context()); why != nil {
			h.refuse(w, r, unavailable(why))
			return
		}
	}
	h.refuse(w, r, page{
		status: http.StatusBadGateway,
		title:  upperFirst(t.title) + " does not answer",
		detail: cause(t, err),
	})
}

// cause is the error without the URL, which the reader knows.
func cause(t target, err error) string {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		err = dial.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return t.address + ": no answer in time"
	}
	return t.address + ": " + err.Error()
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
