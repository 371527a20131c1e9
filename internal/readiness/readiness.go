package readiness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// answer is what GET / on a status socket gives (ARCHITECTURE.md, "Contracts").
type answer struct {
	Ready      bool   `json:"ready"`
	WaitingFor string `json:"waitingFor"`
}

// Get returns nil when the process behind the unix socket says that it is ready, else an error
// whose text is what it waits for. The process may take half a second to say that nothing is new.
func Get(ctx context.Context, socket string) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://status/?wait=500ms", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("its status (%s)", reason(err))
	}
	defer func() { _ = res.Body.Close() }()
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return fmt.Errorf("its status (%w)", err)
	}
	switch {
	case a.Ready:
		return nil
	case a.WaitingFor == "":
		return errors.New("its parts")
	default:
		return errors.New(a.WaitingFor)
	}
}

// reason cuts the request line that net/http puts before each error.
func reason(err error) string {
	text := err.Error()
	if _, rest, found := strings.Cut(text, `"http://status/?wait=500ms": `); found {
		return rest
	}
	return text
}
