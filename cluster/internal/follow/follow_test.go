package follow

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
)

func TestFileTellsEachChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	steps := []func() error{
		func() error { return os.WriteFile(file, []byte("nameserver 192.0.2.1\n"), 0o600) },
		func() error { return os.WriteFile(file, []byte("nameserver 192.0.2.100\n"), 0o600) },
		func() error { return os.Remove(file) },
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changed := make(chan struct{})
		go File(ctx, file, Look(file), func() { changed <- struct{}{} })
		for i, step := range steps {
			if err := step(); err != nil {
				t.Fatal(err)
			}
			<-changed
			t.Log("change", i)
		}
	})
}
