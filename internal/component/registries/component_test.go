package registries

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const mirror = "[host.\"https://127.0.0.1:1\"]\n"

// running starts a component on a directory that does not exist yet, and returns once it is ready.
func running(t *testing.T) (c *Component, insecure chan []string) {
	t.Helper()
	insecure = make(chan []string, 100)
	c = New(Options{
		Source: filepath.Join(t.TempDir(), "docker", "certs.d"), Target: filepath.Join(t.TempDir(), "certs.d"), Mirror: mirror,
		Insecure: func(names []string) error { insecure <- names; return nil },
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
	return c, insecure
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// becomes waits until a file below Target is as wanted; "" wants none.
func (c *Component) becomes(t *testing.T, file, want string) {
	t.Helper()
	path := filepath.Join(c.o.Target, file)
	var got []byte
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got, _ = os.ReadFile(path); string(got) == want {
			return
		}
	}
	t.Errorf("%s is %q, want %q", file, got, want)
}

func TestFollowsADirectoryThatComesAndGoes(t *testing.T) {
	c, insecure := running(t)
	c.becomes(t, "_default/hosts.toml", mirror)
	file := filepath.Join(c.o.Source, "plain:5000", "hosts.toml")
	put(t, file, "server = \"http://plain:5000\"\n")
	c.becomes(t, "plain:5000/hosts.toml", "server = \"http://plain:5000\"\n"+mirror)
	for deadline := time.After(5 * time.Second); ; {
		select {
		case names := <-insecure:
			if !slices.Equal(names, []string{"plain:5000"}) {
				continue
			}
		case <-deadline:
			t.Fatal("nobody was told that plain:5000 is insecure")
		}
		break
	}
	put(t, filepath.Join(filepath.Dir(file), "ca.crt"), "a certificate")
	c.becomes(t, "plain:5000/ca.crt", "a certificate")
	put(t, file, "server = \"http://plain:5001\"\n")
	c.becomes(t, "plain:5000/hosts.toml", "server = \"http://plain:5001\"\n"+mirror)
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(c.o.Source))); err != nil {
		t.Fatal(err)
	}
	c.becomes(t, "plain:5000/hosts.toml", "")
	c.becomes(t, "_default/hosts.toml", mirror)
}

func TestAUsersDefaultComesAfterTheMirror(t *testing.T) {
	c, _ := running(t)
	file := filepath.Join(c.o.Source, "_default", "hosts.toml")
	put(t, file, "[host.\"https://m\"]\n")
	c.becomes(t, "_default/hosts.toml", mirror+"[host.\"https://m\"]\n")
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	c.becomes(t, "_default/hosts.toml", mirror)
}

func TestWarnsOfWhatCannotBeRead(t *testing.T) {
	c, _ := running(t)
	if c.Warning() != "" {
		t.Error(c.Warning())
	}
	file := filepath.Join(c.o.Source, "bad", "hosts.toml")
	put(t, file, "server = 5\n")
	c.becomes(t, "bad/hosts.toml", mirror)
	if !strings.Contains(c.Warning(), file) {
		t.Errorf("no %s in: %q", file, c.Warning())
	}
	put(t, file, "server = \"https://bad\"\n")
	c.becomes(t, "bad/hosts.toml", "server = \"https://bad\"\n"+mirror)
	if c.Warning() != "" {
		t.Error(c.Warning())
	}
}
