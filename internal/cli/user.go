package cli

import (
	"context"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/boxyard/boxyard/internal/daemon"
)

// caller is the person behind a command that root runs: who ran sudo, else root itself.
func (a *App) caller(ctx context.Context) (daemon.User, error) {
	if uid := a.Getenv("SUDO_UID"); uid != "" && uid != "0" {
		return lookup(ctx, uid)
	}
	home := a.Getenv("HOME")
	if home == "" {
		home = "/root"
	}
	return daemon.User{Home: home}, nil
}

// lookup asks getent where /etc/passwd does not know the user: he may come from LDAP.
func lookup(ctx context.Context, uid string) (daemon.User, error) {
	if u, err := user.LookupId(uid); err == nil {
		return newUser(u.Uid, u.Gid, u.HomeDir)
	}
	out, err := exec.CommandContext(ctx, "getent", "passwd", uid).Output()
	fields := strings.Split(strings.TrimSpace(string(out)), ":")
	if err != nil || len(fields) < 6 {
		return daemon.User{}, fmt.Errorf("find the user who ran sudo (uid %s): %w", uid, err)
	}
	return newUser(fields[2], fields[3], fields[5])
}

func newUser(uid, gid, home string) (daemon.User, error) {
	u, errU := strconv.Atoi(uid)
	g, errG := strconv.Atoi(gid)
	if errU != nil || errG != nil {
		return daemon.User{}, fmt.Errorf("the user who ran sudo has no numbers: uid %q, gid %q", uid, gid)
	}
	return daemon.User{UID: u, GID: g, Home: home}, nil
}

// rememberUser gives the caller access from the daemon's next start on.
func (a *App) rememberUser(ctx context.Context) error {
	u, err := a.caller(ctx)
	if err != nil {
		return err
	}
	return daemon.Remember(a.Layout, u)
}

// grant gives the caller access to a daemon that runs.
func (a *App) grant(ctx context.Context) error {
	if err := a.rememberUser(ctx); err != nil {
		return err
	}
	return daemon.GrantAll(a.Layout)
}
