package frontdoor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/boxyard/boxyard/internal/fault"
)

// fixed is a directory that a test has made.
type fixed map[string]target

func (f fixed) find(_ context.Context, name string) (target, error) {
	t, ok := f[name]
	switch {
	case !ok:
		return target{}, errUnknown
	case t.address == "":
		return target{}, t.unready(context.Background())
	}
	return t, nil
}

func (f fixed) names(context.Context) []string { return slices.Sorted(maps.Keys(f)) }

// door serves the directories and returns its address.
func door(t *testing.T, directories ...directory) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests, end := context.WithCancel(context.Background())
	server := newServer(requests, &handler{directories: directories, log: slog.New(slog.DiscardHandler)})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(local{l.(*net.TCPListener)}) }()
	t.Cleanup(func() {
		end()
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// backend is a target that a handler answers for.
func backend(t *testing.T, h http.HandlerFunc) target {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return target{title: "the service default/web", address: s.Listener.Addr().String()}
}

// request is one to the door, for a host.
func request(t *testing.T, address, host string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func send(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func expect(t *testing.T, r *http.Request, code int, words ...string) *http.Response {
	t.Helper()
	res, body := send(t, r)
	if res.StatusCode != code {
		t.Errorf("%s: status %d, want %d", r.Host, res.StatusCode, code)
	}
	for _, w := range words {
		if !strings.Contains(body, w) {
			t.Errorf("%s: the answer lacks %q:\n%s", r.Host, w, body)
		}
	}
	return res
}

func TestNames(t *testing.T) {
	web := backend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "web %s %s", r.Host, r.URL.RequestURI())
	})
	at := door(t, fixed{"api.shop.docker": backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "compose") })}, fixed{"web.default": web})
	for _, host := range []string{"web.default.localhost", "web.default.localhost:80", "WEB.Default.LOCALHOST", "web.default.localhost."} {
		expect(t, request(t, at, host), 200, "web "+host)
	}
	expect(t, request(t, at, "api.shop.docker.localhost"), 200, "compose")
	r := request(t, at, "web.default.localhost")
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/a/b c", "/a%2Fb%20c", "x=1;y=%zz&&"
	expect(t, r, 200, "/a%2Fb%20c?x=1;y=%zz&&") // to the byte: it is not ours to repair
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]:80", "web.localhost", "a.web.default.localhost"} {
		expect(t, request(t, at, host), 404, "web.default.localhost", "api.shop.docker.localhost")
	}
}

func TestRebinding(t *testing.T) {
	at := door(t, fixed{"web.default": backend(t, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })})
	for _, host := range []string{"evil.example", "web.default.localhost.evil.example", "evil.example:80", "10.0.0.1", "192.0.2.1:80", "notlocalhost", ".localhost", "web.default"} {
		res, body := send(t, request(t, at, host))
		if res.StatusCode != http.StatusMisdirectedRequest || strings.Contains(body, "web.default") {
			t.Errorf("%s: status %d:\n%s", host, res.StatusCode, body)
		}
	}
}

func TestCrossSite(t *testing.T) {
	at := door(t, fixed{"web.default": backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "web") })})
	const cross = "cross-site"
	for name, tt := range map[string]struct {
		method string
		header []string
		want   int
	}{
		"no browser":                 {"POST", nil, 200},
		"typed in":                   {"GET", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		"its own page":               {"POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://web.default.localhost"}, 200},
		"another local page":         {"POST", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "cors", "Origin", "http://localhost:3000"}, 200},
		"a local page's image":       {"GET", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "no-cors", "Referer", "http://127.0.0.1:8000/"}, 200},
		"a link":                     {"GET", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"a form elsewhere":           {"POST", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Origin", "https://evil.example"}, 403},
		"a frame elsewhere":          {"GET", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		"a script elsewhere":         {"GET", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "cors", "Origin", "https://evil.example"}, 403},
		"an image elsewhere":         {"GET", []string{"Sec-Fetch-Site", cross, "Sec-Fetch-Mode", "no-cors"}, 403},
		"a sandboxed frame":          {"POST", []string{"Sec-Fetch-Site", cross, "Origin", "null"}, 403},
		"a name that looks local":    {"POST", []string{"Sec-Fetch-Site", cross, "Origin", "https://localhost.evil.example"}, 403},
		"an old browser, elsewhere":  {"POST", []string{"Origin", "https://evil.example"}, 403},
		"an old browser, local page": {"POST", []string{"Origin", "http://web.default.localhost"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, at, "web.default.localhost", tt.header...)
			r.Method = tt.method
			expect(t, r, tt.want)
		})
	}
}

func TestUnknownPage(t *testing.T) {
	d := fixed{"web.default": {}, "<script>alert(1)</script>.docker": {}}
	at := door(t, d)
	res := expect(t, request(t, at, "a&b'c.localhost:8000", "Accept", "text/html,*/*"), 404,
		"<title>There is no a&amp;b&#39;c.localhost</title>",
		`<a href="http://web.default.localhost:8000">http://web.default.localhost:8000</a>`,
		"&lt;script&gt;alert(1)&lt;/script&gt;.docker.localhost")
	if kind := res.Header.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		t.Error(kind)
	}
	res = expect(t, request(t, at, "wbe.default.localhost"), 404, "boxyard: There is no wbe.default.localhost\n", "\n  http://web.default.localhost\n")
	if kind := res.Header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
		t.Error(kind)
	}
	expect(t, request(t, door(t), "localhost"), 404, "no Services and no containers")
	many := fixed{}
	for i := range maxListed + 3 {
		many[fmt.Sprintf("s%04d.default", i)] = target{}
	}
	expect(t, request(t, door(t, many), "localhost"), 404, "s0000.default", "and 3 more")
}

func TestWhatCannotBeReached(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	unready := func(context.Context) error {
		return &fault.Error{Code: "no-endpoints", Summary: "the service default/web has no ready endpoints", Hint: "kubectl get pods"}
	}
	early := earlyDirectory{}
	at := door(t, fixed{
		"down.default":    {title: "the service default/down", address: closed.Listener.Addr().String(), unready: func(context.Context) error { return nil }},
		"unready.default": {title: "the service default/web", address: closed.Listener.Addr().String(), unready: unready},
		"stopped.docker": {unready: func(context.Context) error {
			return &fault.Error{Code: "not-running", Summary: "the container stopped is exited", Hint: "docker start stopped"}
		}},
		"outside.default": {unready: func(context.Context) error {
			return &fault.Error{Code: "external-name", Summary: "it stands for example.org"}
		}},
	})
	expect(t, request(t, at, "down.default.localhost"), 502, "The service default/down does not answer", "connection refused")
	expect(t, request(t, at, "unready.default.localhost"), 503, "no ready endpoints", "try: kubectl get pods")
	expect(t, request(t, at, "stopped.docker.localhost"), 503, "exited", "try: docker start stopped")
	expect(t, request(t, at, "outside.default.localhost"), 404, "example.org")
	if res := expect(t, request(t, door(t, early), "web.default.localhost"), 503, "not known yet"); res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

type earlyDirectory struct{}

func (earlyDirectory) find(context.Context, string) (target, error) { return target{}, errEarly }
func (earlyDirectory) names(context.Context) []string               { return nil }

func TestHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	at := door(t, fixed{"web.default": backend(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })})
	expect(t, request(t, at, "web.default.localhost", "X-Forwarded-For", "192.0.2.66", "X-Forwarded-Host", "forged", "Forwarded", "for=192.0.2.66"), 200)
	got := <-seen
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "web.default.localhost", "X-Forwarded-Proto": "http", "Forwarded": "", "Accept-Encoding": "gzip",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
}

// One client connection is one to the backend, so that kube-proxy balances as for anybody.
func TestConnections(t *testing.T) {
	at := door(t, fixed{"web.default": backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })})
	ask := func(transport *http.Transport) string {
		t.Helper()
		res, err := (&http.Client{Transport: transport}).Do(request(t, at, "web.default.localhost"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	var one, other http.Transport
	defer one.CloseIdleConnections()
	defer other.CloseIdleConnections()
	first := ask(&one)
	if again := ask(&one); again != first {
		t.Errorf("the backend saw %s, then %s, of one connection", first, again)
	}
	if second := ask(&other); second == first {
		t.Error("two connections share one to the backend")
	}
}

func TestBigBodiesBothWays(t *testing.T) {
	at := door(t, fixed{"web.default": backend(t, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	})})
	sent := make([]byte, 32<<20)
	_, _ = rand.Read(sent)
	r := request(t, at, "web.default.localhost")
	r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(bytes.NewReader(sent)), -1
	_, body := send(t, r)
	if sha256.Sum256([]byte(body)) != sha256.Sum256(sent) {
		t.Errorf("%d bytes came back of %d, or others", len(body), len(sent))
	}
}

func TestStreamsAtOnce(t *testing.T) {
	more := make(chan struct{})
	at := door(t, fixed{"web.default": backend(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			fmt.Fprintln(w, "data: tick")
			w.(http.Flusher).Flush()
			<-more
		}
	})})
	res, err := http.DefaultClient.Do(request(t, at, "web.default.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for range 3 {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		more <- struct{}{} // the backend goes on only after this line has come
	}
}

// What WebSockets do: after the answer 101 both sides speak as they like.
func TestUpgrade(t *testing.T) {
	at := door(t, fixed{"web.default": backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			t.Errorf("headers %v", r.Header)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(conn, strings.ToUpper(line))
		}
	})})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET /socket HTTP/1.1\r\nHost: web.default.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	for _, word := range []string{"one", "two"} {
		fmt.Fprintln(conn, word)
		if line, err := in.ReadString('\n'); err != nil || line != strings.ToUpper(word)+"\n" {
			t.Errorf("got %q, %v", line, err)
		}
	}
}

func TestNoTunnelByUpgradeToHTTP2(t *testing.T) {
	at := door(t, fixed{"web.default": backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" || r.Header.Get("HTTP2-Settings") != "" {
			t.Errorf("headers %v", r.Header)
		}
	})})
	expect(t, request(t, at, "web.default.localhost", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABk"), 200)
}

func http2Transport() *http.Transport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: &protocols}
}

// HTTP/2 of a client reaches a backend that knows HTTP/1 only, and the other way round.
func TestHTTP2(t *testing.T) {
	one := backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		fmt.Fprint(w, r.Proto)
		w.(http.Flusher).Flush() // else it has a length, and HTTP/1 has no trailers then
		w.Header().Set("Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Late", "43")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	at := door(t, fixed{"one.default": one, "two.default": {title: "the service default/two", address: s.Listener.Addr().String(), h2c: true}})
	two := http2Transport()
	defer two.CloseIdleConnections()
	for _, tt := range []struct {
		transport *http.Transport
		host      string
		client    int
		backend   string
	}{
		{two, "one.default.localhost", 2, "HTTP/1.1"},
		{two, "two.default.localhost", 2, "HTTP/2.0"},
		{&http.Transport{DisableKeepAlives: true}, "two.default.localhost", 1, "HTTP/2.0"},
	} {
		res, err := (&http.Client{Transport: tt.transport}).Do(request(t, at, tt.host))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.ProtoMajor != tt.client || string(body) != tt.backend {
			t.Errorf("%s: client %s, backend %s", tt.host, res.Proto, body)
		}
		if tt.backend == "HTTP/2.0" && (res.Trailer.Get("Sum") != "42" || res.Trailer.Get("Late") != "43") {
			t.Errorf("%s over %s: trailers %v", tt.host, res.Proto, res.Trailer)
		}
	}
}

func TestGRPC(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, states := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, states)
	states.SetServingStatus("known", healthpb.HealthCheckResponse_SERVING)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	// Nothing says that this backend speaks HTTP/2: the request does.
	at := door(t, fixed{"grpc.default": {title: "the service default/grpc", address: l.Addr().String()}})
	conn, err := grpc.NewClient("passthrough:///"+at, grpc.WithAuthority("grpc.default.localhost"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	if res, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "known"}); err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v", res, err)
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "unknown"}); status.Code(err) != codes.NotFound {
		t.Errorf("a status in the trailers: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "known"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		if res, err := stream.Recv(); err != nil || res.Status != want {
			t.Fatalf("the stream gave %v, %v", res, err)
		}
		states.SetServingStatus("known", healthpb.HealthCheckResponse_NOT_SERVING)
	}
}

func TestTLSBackend(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "over TLS to ", r.Host) }))
	defer s.Close()
	at := door(t, fixed{"safe.default": {title: "the service default/safe", address: s.Listener.Addr().String(), tls: true}})
	expect(t, request(t, at, "safe.default.localhost"), 200, "over TLS to safe.default.localhost")
}
