package frontdoor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/reach"
)

// directory knows the things of one kind. Names are without the suffix .localhost.
type directory interface {
	// find gives the target that a name means. A name that it does not know is errUnknown; a fault says why
	// a thing that it knows cannot be reached.
	find(ctx context.Context, name string) (target, error)
	names(ctx context.Context) []string
}

var (
	errUnknown = errors.New("no such name")
	// errEarly: whether there is such a name cannot be said yet.
	errEarly = errors.New("not known yet")
)

// target is where requests for a name go.
type target struct {
	title   string // "the service default/web"
	address string // host:port
	tls     bool
	h2c     bool // it speaks HTTP/2 without TLS, whatever the client speaks
	// unready says why nothing answers, where that is known. May be nil.
	unready func(ctx context.Context) error
}

// handler takes a request to what its Host names.
type handler struct {
	directories []directory // the first that knows a name has it
	log         *slog.Logger
}

// newServer answers requests, which end at the latest when their context does.
func newServer(requests context.Context, h *handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       withConnection,
	}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := nameOf(r.Host)
	switch {
	case !ok:
		h.refuse(w, r, page{
			status: http.StatusMisdirectedRequest,
			title:  "This port serves names that end in " + reach.Suffix + " only",
			detail: "Other names could be somebody else's, who points them at this machine.",
		})
	case r.Method == http.MethodConnect:
		h.refuse(w, r, page{status: http.StatusMethodNotAllowed, title: "This is no proxy for other hosts"})
	case foreign(r):
		h.refuse(w, r, page{
			status: http.StatusForbidden,
			title:  "A page from elsewhere may not send requests here",
			detail: "The browser says that another site made this request. A link may lead here; scripts, forms, frames and sockets of pages that are not from this machine may not.",
		})
	case name == "":
		h.unknown(w, r, "")
	default:
		h.deliver(w, r, name)
	}
}

// nameOf is what a Host names, without the suffix; "" is this machine itself. Others are not ok: a name
// that an attacker's DNS server points at 127.0.0.1 must not reach anything (DNS rebinding). An address
// cannot be pointed elsewhere.
func nameOf(hostport string) (string, bool) {
	host := hostname(hostport)
	if name, ok := strings.CutSuffix(host, reach.Suffix); ok {
		return name, name != ""
	}
	return "", isLocal(host)
}

// hostname is a Host without its port and in lower case.
func hostname(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isLocal says whether a host of a URL is this machine whatever DNS says.
func isLocal(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, reach.Suffix) {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// foreign says whether a page that is not from this machine made the browser send this request. To
// follow a link is no harm; everything else could be done in the user's name.
func foreign(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch site {
	case "same-origin", "same-site", "none":
		return false
	case "":
		// No browser, or an old one, which says at least where scripts and forms come from.
		return origin != "" && !isLocalURL(origin)
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if safe && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return false
	}
	if origin == "" {
		origin = r.Header.Get("Referer")
	}
	return !isLocalURL(origin)
}

func isLocalURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && isLocal(hostname(u.Host))
}

func (h *handler) deliver(w http.ResponseWriter, r *http.Request, name string) {
	early := false
	for _, d := range h.directories {
		t, err := d.find(r.Context(), name)
		switch {
		case err == nil:
			h.forward(w, r, t)
			return
		case errors.Is(err, errEarly):
			early = true
		case !errors.Is(err, errUnknown):
			h.refuse(w, r, unavailable(err))
			return
		}
	}
	if early {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, r, page{
			status: http.StatusServiceUnavailable,
			title:  "It is not known yet whether there is " + name,
			detail: "Boxyard is starting.", hint: "boxyard status",
		})
		return
	}
	h.unknown(w, r, name)
}

// unknown lists the names that there are.
func (h *handler) unknown(w http.ResponseWriter, r *http.Request, name string) {
	p := page{status: http.StatusNotFound, title: "Name a Service or a container"}
	if name != "" {
		p.title = "There is no " + name + reach.Suffix
	}
	port := ""
	if _, number, err := net.SplitHostPort(r.Host); err == nil && number != "80" {
		port = ":" + number
	}
	p.listed = true
	for _, d := range h.directories {
		for _, n := range d.names(r.Context()) {
			p.urls = append(p.urls, "http://"+n+reach.Suffix+port)
		}
	}
	p.urls = slices.Compact(p.urls)
	h.refuse(w, r, p)
}

// unavailable is the page for a thing that is there but cannot be reached.
func unavailable(err error) page {
	p := page{status: http.StatusServiceUnavailable, title: err.Error()}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		p.title, p.hint = f.Summary, f.Hint
		if f.Code == "external-name" || f.Code == "no-port" {
			p.status = http.StatusNotFound
		}
	}
	return p
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, p page) {
	if err := p.write(w, r); err != nil {
		h.log.Debug("A client has gone before its answer", "error", err)
	}
}
