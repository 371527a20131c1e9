package frontdoor

import (
	"fmt"
	"html"
	"net/http"
	"strings"
)

// maxListed bounds the list of names: the page is for people.
const maxListed = 500

// page is an answer of our own: HTML for browsers, text for others.
type page struct {
	status int
	title  string
	detail string
	hint   string // a command
	listed bool   // urls are all that there are
	urls   []string
}

func (p page) write(w http.ResponseWriter, r *http.Request) error {
	body, kind := p.text(), "text/plain; charset=utf-8"
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		body, kind = p.html(), "text/html; charset=utf-8"
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(p.status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write([]byte(body))
	return err
}

func (p page) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "boxyard: %s\n", p.title)
	if p.detail != "" {
		fmt.Fprintf(&b, "%s\n", p.detail)
	}
	if p.hint != "" {
		fmt.Fprintf(&b, "try: %s\n", p.hint)
	}
	shown, more := p.shown()
	if p.listed && len(shown) == 0 {
		b.WriteString("There are no Services and no containers with a port.\n")
	}
	for _, u := range shown {
		fmt.Fprintf(&b, "  %s\n", u)
	}
	if more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}
	return b.String()
}

func (p page) html() string {
	var b strings.Builder
	title := html.EscapeString(p.title)
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>\n", title)
	b.WriteString("<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:4em auto;padding:0 1em;color:#222}li{margin:.2em 0}footer{margin-top:3em;color:#777}</style></head>\n")
	fmt.Fprintf(&b, "<body><h1>%s</h1>\n", title)
	if p.detail != "" {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(p.detail))
	}
	if p.hint != "" {
		fmt.Fprintf(&b, "<p>Try: <code>%s</code></p>\n", html.EscapeString(p.hint))
	}
	shown, more := p.shown()
	switch {
	case p.listed && len(shown) == 0:
		b.WriteString("<p>There are no Services and no containers with a port.</p>\n")
	case len(shown) > 0:
		b.WriteString("<p>There are:</p>\n<ul>\n")
		for _, u := range shown {
			escaped := html.EscapeString(u)
			fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a></li>\n", escaped, escaped)
		}
		b.WriteString("</ul>\n")
	}
	if more > 0 {
		fmt.Fprintf(&b, "<p>And %d more.</p>\n", more)
	}
	b.WriteString("<footer>Boxyard's front door</footer></body></html>\n")
	return b.String()
}

func (p page) shown() (urls []string, more int) {
	if len(p.urls) <= maxListed {
		return p.urls, 0
	}
	return p.urls[:maxListed], len(p.urls) - maxListed
}
