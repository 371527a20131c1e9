package readiness

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"ready":   {`{"ready":true,"parts":[{"name":"etcd","ready":true}]}`, ""},
		"waiting": {`{"ready":false,"waitingFor":"node boxyard to be Ready"}`, "node boxyard to be Ready"},
		"silent":  {`{"ready":false}`, "its parts"},
		"broken":  {`{`, "its status ("},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s.sock")
			var lc net.ListenConfig
			l, err := lc.Listen(t.Context(), "unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(tt.body))
			})}
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
			check(t, Get(t.Context(), socket), tt.want)
		})
	}
	t.Run("no socket", func(t *testing.T) {
		check(t, Get(t.Context(), filepath.Join(t.TempDir(), "s.sock")), "its status (dial unix ")
	})
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
		t.Errorf("got %v, want %q", err, want)
	}
}
