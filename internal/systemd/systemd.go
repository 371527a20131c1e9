package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/boxyard/boxyard/internal/fault"
)

const (
	// Service is the name of the unit, installed or transient.
	Service = "boxyard.service"
	// UnitFile is where the installed unit is.
	UnitFile = "/etc/systemd/system/" + Service
	// ExitNotStarted is the daemon's exit code when something on this machine must be put right
	// first (EX_CONFIG of sysexits.h): the unit does not try again.
	ExitNotStarted = 78
)

// property is one setting of the service, for the unit file and for systemd-run alike.
type property struct{ name, value, why string }

func properties() []property {
	return []property{
		{"Type", "notify", ""},
		{"NotifyAccess", "main", ""},
		{"KillMode", "process", "Only the daemon is signalled: it ends its parts itself, and containers go on."},
		{"Delegate", "yes", "The cgroups beneath are ours."},
		{"TasksMax", "infinity", ""},
		{"LimitNOFILE", "1048576", ""},
		{"OOMScoreAdjust", "-500", ""},
		{"TimeoutStartSec", "infinity", "`boxyard up` has a timeout of its own."},
		{"TimeoutStopSec", "90", ""},
		{"Restart", "on-failure", "`boxyard down` ends the daemon with 0 and is no failure."},
		{"RestartSec", "1", ""},
		{"RestartPreventExitStatus", fmt.Sprint(ExitNotStarted), "A fault of this machine's configuration, which trying again does not mend."},
	}
}

// Unit is the text of the unit file. env holds NAME=value lines, such as a proxy's.
func Unit(exe string, env []string) string {
	var b strings.Builder
	b.WriteString(`# Written by boxyard install. boxyard uninstall removes it.
[Unit]
Description=Boxyard: Docker and Kubernetes on one image store
Documentation=https://github.com/boxyard/boxyard
After=network.target nss-lookup.target firewalld.service ufw.service nftables.service
StartLimitIntervalSec=0

[Service]
`)
	fmt.Fprintf(&b, "ExecStart=%s daemon\n", strings.ReplaceAll(quote(exe), "$", "$$")) // only commands expand $
	for _, e := range env {
		fmt.Fprintf(&b, "Environment=%s\n", quote(e))
	}
	for _, p := range properties() {
		if p.why != "" {
			fmt.Fprintf(&b, "# %s\n", p.why)
		}
		fmt.Fprintf(&b, "%s=%s\n", p.name, p.value)
	}
	b.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	return b.String()
}

// quote makes one word of a unit file's value: systemd.syntax(7) and its specifiers (%).
func quote(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(s)
	if strings.ContainsAny(s, " \t\"'\\;") {
		return `"` + s + `"`
	}
	return s
}

// runArguments are those of systemd-run for a transient service like the installed one.
func runArguments(command, env []string) []string {
	args := []string{"--quiet", "--collect", "--no-block", "--unit=" + Service, "--description=Boxyard"}
	for _, p := range properties() {
		args = append(args, "--property="+p.name+"="+p.value)
	}
	for _, e := range env {
		args = append(args, "--setenv="+e)
	}
	return append(append(args, "--"), command...)
}

// Booted says whether systemd runs this host, as sd_booted(3) does.
func Booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Installed says whether the unit file is there.
func Installed() bool {
	_, err := os.Stat(UnitFile)
	return err == nil
}

// NotBooted is the error of commands that need systemd.
func NotBooted() error {
	return &fault.Error{
		Code:    "no-systemd",
		Summary: "this machine is not run by systemd, so there is no unit to install",
		Hint:    "start Boxyard with `boxyard up`, and at boot from the init that runs here: boxyard daemon",
	}
}

// Start starts the installed unit and does not wait.
func Start(ctx context.Context) error { return systemctl(ctx, "start", "--no-block", Service) }

// RunTransient runs command as the service, without a unit file, and does not wait.
func RunTransient(ctx context.Context, command, env []string) error {
	return run(ctx, "systemd-run", runArguments(command, env)...)
}

// Enable makes systemd read the new unit and start it, now and at boot.
func Enable(ctx context.Context) error {
	return errors.Join(
		systemctl(ctx, "daemon-reload"),
		systemctl(ctx, "enable", "--quiet", Service),
		systemctl(ctx, "start", "--no-block", Service),
	)
}

// Disable undoes Enable and removes the unit file. It waits for the service's end. A unit that is not there is no error.
func Disable(ctx context.Context) error {
	if !Installed() {
		return nil
	}
	errs := []error{systemctl(ctx, "disable", "--quiet", "--now", Service)}
	if err := os.Remove(UnitFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	_ = systemctl(ctx, "reset-failed", Service) // fails where the unit did not
	return errors.Join(append(errs, systemctl(ctx, "daemon-reload"))...)
}

// Ended says whether the service has ended or waits to be restarted, with systemd's words for it.
func Ended(ctx context.Context) (string, bool) {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=ActiveState,SubState,Result", Service).Output()
	if err != nil {
		return "", false
	}
	state := string(out)
	for _, s := range []string{"ActiveState=inactive", "ActiveState=failed", "SubState=auto-restart"} {
		if strings.Contains(state, s) {
			return strings.Join(strings.Fields(state), ", "), true
		}
	}
	return "", false
}

func systemctl(ctx context.Context, args ...string) error { return run(ctx, "systemctl", args...) }

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
