package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// spawn starts command as a process that outlives us, our terminal and our session. Its output goes
// to the daemon's log, for what it says before it opens that itself and for a crash.
func (a *App) spawn(command []string) (ended func() (string, bool), err error) {
	if err := os.MkdirAll(a.Layout.Log, 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(a.Layout.LogFile("boxyard"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // It must live on when our context ends.
	cmd.Env = a.daemonEnv()
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan string, 1)
	go func() {
		_ = cmd.Wait()
		done <- cmd.ProcessState.String()
	}()
	return func() (string, bool) {
		select {
		case how := <-done:
			return how, true
		default:
			return "", false
		}
	}, nil
}
