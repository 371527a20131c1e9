package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/daemon"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/systemd"
	"github.com/boxyard/boxyard/internal/version"
)

type upOptions struct {
	settings
	noWait  bool
	timeout time.Duration
}

func (a *App) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start Boxyard, or say that it runs",
		Args:  atMost(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.up(cmd.Context(), cmd, o) },
	}
	o.register(cmd, a)
	cmd.Flags().BoolVar(&o.noWait, "no-wait", false, "return when the daemon has started, before the parts are ready")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Minute, "give up waiting after this time; Boxyard goes on")
	return cmd
}

func (a *App) up(ctx context.Context, cmd *cobra.Command, o upOptions) error {
	if _, _, err := o.load(); err != nil {
		return err
	}
	status, err := a.client().Status(ctx)
	switch {
	case err == nil && status.Phase != controlapi.PhaseStopping:
		return a.join(ctx, o, status)
	case fault.ExitCode(err) == fault.ExitNeedsRoot && !a.Root:
		return a.needsRoot(cmd)
	case err != nil && fault.Code(err) != "not-running":
		return err
	}
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	begin := time.Now()
	joined, err := a.start(ctx, o.settings)
	if err != nil {
		return err
	}
	if joined != nil {
		return a.join(ctx, o, *joined)
	}
	if o.noWait {
		fmt.Fprintln(a.Out, "Boxyard is starting; see: boxyard status")
		return nil
	}
	return a.await(ctx, o.timeout, begin)
}

// join is `up` with a daemon that runs already: another `up` has just started it, or it is an old one.
func (a *App) join(ctx context.Context, o upOptions, s controlapi.Status) error {
	if a.Root {
		if err := a.grant(ctx); err != nil {
			return err
		}
	}
	if args := o.arguments(a.Layout.ConfigFile()); s.Ready && !startedWith(s.PID, args) {
		fmt.Fprintf(a.Err, "boxyard: it runs already; %s takes effect at the next start (boxyard down, then up)\n", strings.Join(args, " "))
	}
	if s.Version != version.Version {
		fmt.Fprintf(a.Err, "boxyard: it runs already, as %s; this program is %s, and takes over with: boxyard down --keep-containers, then boxyard up\n", s.Version, version.Version)
	}
	if s.Ready {
		return printStatus(a.Out, s, time.Now())
	}
	if o.noWait {
		fmt.Fprintln(a.Out, "Boxyard is starting; see: boxyard status")
		return nil
	}
	return a.await(ctx, o.timeout, s.Since)
}

// startedWith says whether the daemon has these arguments.
func startedWith(pid int, args []string) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasSuffix(string(cmdline), strings.Join(append([]string{"\x00daemon"}, args...), "\x00")+"\x00") || len(args) == 0
}

// start starts the daemon and returns once it answers. When another `up` was faster it returns the
// status of that one's daemon.
func (a *App) start(ctx context.Context, s settings) (*controlapi.Status, error) {
	unlock, err := daemon.LockStart(ctx, a.Layout)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if status, err := a.awaitStopped(ctx); err != nil || status != nil {
		return status, err
	}
	_ = daemon.TakeFault(a.Layout) // an old one
	if err := a.rememberUser(ctx); err != nil {
		return nil, err
	}
	ended, err := a.launch(ctx, s)
	if err != nil {
		return nil, err
	}
	return nil, a.awaitAnswer(ctx, ended)
}

// awaitStopped lets a daemon that is stopping finish. A daemon that runs is returned.
func (a *App) awaitStopped(ctx context.Context) (*controlapi.Status, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := a.client().Status(ctx)
		switch {
		case fault.Code(err) == "not-running" && !daemon.Running(a.Layout):
			return nil, nil //nolint:nilnil // Neither a daemon nor an error: the way is free.
		case err == nil && status.Phase != controlapi.PhaseStopping:
			return &status, nil
		case err != nil && fault.Code(err) != "not-running":
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// awaitAnswer polls the control socket. ended says that the daemon will not answer any more.
func (a *App) awaitAnswer(ctx context.Context, ended func() (string, bool)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := a.client().Status(ctx); err == nil {
			return nil
		}
		if how, over := ended(); over {
			return a.daemonEnded(ctx, how)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// daemonEnded is why there is no daemon: its own words where it left some.
func (a *App) daemonEnded(ctx context.Context, how string) error {
	daemon.AwaitEnd(ctx, a.Layout, 5*time.Second)
	if err := daemon.TakeFault(a.Layout); err != nil {
		return err
	}
	summary := "the daemon ended before Boxyard was ready"
	if how != "" {
		summary += " (" + how + ")"
	}
	return &fault.Error{Code: "daemon-ended", Summary: summary, Hint: "boxyard logs boxyard"}
}

// launch starts the daemon in its own session, or as systemd's service, and returns how to see that it has ended.
func (a *App) launch(ctx context.Context, s settings) (ended func() (string, bool), err error) {
	viaSystemd := func() (string, bool) { return systemd.Ended(ctx) }
	command := append([]string{a.Exe, "daemon"}, s.arguments(a.Layout.ConfigFile())...)
	switch {
	case systemd.Booted() && systemd.Installed():
		if err := s.forUnit(a); err != nil {
			return nil, err
		}
		return viaSystemd, systemd.Start(ctx)
	case systemd.Booted():
		return viaSystemd, systemd.RunTransient(ctx, command, a.daemonEnv())
	default:
		return a.spawn(command)
	}
}

// daemonEnv is all that the daemon gets of our environment: a proxy is the machine's, the rest is the user's.
func (a *App) daemonEnv() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return append(env, a.proxyEnv()...)
}

func (a *App) proxyEnv() []string {
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		value := a.Getenv(name)
		if value == "" {
			value = a.Getenv(strings.ToLower(name))
		}
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// welcome says what to type next.
func (a *App) welcome(took time.Duration, s controlapi.Status) {
	fmt.Fprintf(a.Out, "\nBoxyard is ready after %.1f s. Next:\n\n", took.Seconds())
	docker, kubectl := "docker", "kubectl"
	if !a.onPath("docker") || !a.onPath("kubectl") {
		docker, kubectl = "boxyard docker", "boxyard kubectl"
	}
	for _, c := range s.Components {
		switch c.Name {
		case "dockerd":
			fmt.Fprintf(a.Out, "  %s run --rm boxyard/base echo hello\n", docker)
		case "cluster":
			fmt.Fprintf(a.Out, "  %s get nodes\n", kubectl)
		}
	}
	if docker != "docker" {
		fmt.Fprintf(a.Out, "\ndocker, kubectl and helm by their own names: export PATH=$PATH:%s\n", a.Layout.BinDir())
	}
}

func (a *App) onPath(name string) bool {
	for _, dir := range filepath.SplitList(a.Getenv("PATH")) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}
