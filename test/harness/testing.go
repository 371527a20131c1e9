package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// New is Start for a test: it fails, never skips, where it cannot work, keeps the logs of a
// failed test in build/test-logs, and fails a test that leaves something behind.
func New(t *testing.T, opts Options) *Instance {
	t.Helper()
	in, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			in.keepLogs(t)
		}
		if err := in.Close(); err != nil {
			t.Errorf("close the instance: %v", err)
			if dir := logDir(in, t); dir != "" {
				t.Logf("logs: %s", dir)
			}
		}
	})
	return in
}

func logDir(in *Instance, t *testing.T) string {
	name := regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(t.Name(), "_")
	return filepath.Join(in.repo, "build", "test-logs", name)
}

// keepLogs saves the log files, the status and what runs.
func (in *Instance) keepLogs(t *testing.T) {
	t.Helper()
	dir := logDir(in, t)
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Dir(dir), 0o755), os.CopyFS(dir, os.DirFS(in.LogPath())))
	if err != nil {
		t.Logf("keep logs: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for file, args := range map[string][]string{
		"status.txt":     {in.Binary, "status"},
		"processes.txt":  {"ps", "-eo", "pid,ppid,stat,etime,args", "--forest"},
		"nft.txt":        {"nft", "list", "ruleset"},
		"containers.txt": {in.Binary, "docker", "ps", "-a"},
		"pods.txt":       {in.Binary, "kubectl", "get", "pods,events", "-A", "-o", "wide"},
	} {
		result, err := in.Exec(ctx, Command{Name: args[0], Args: args[1:]})
		if err != nil {
			t.Logf("%s: %v", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(result.Output()+"\n"), 0o644); err != nil {
			t.Logf("%s: %v", file, err)
		}
	}
	t.Logf("logs are in %s", dir)
}
