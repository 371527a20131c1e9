package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// Command is what to run inside an instance. Nothing but PATH, HOME and the like is inherited.
type Command struct {
	Name  string
	Args  []string
	Dir   string
	Env   []string // added
	Stdin io.Reader
	// Stdout and Stderr get the output as it comes, if set; Result has it in any case.
	Stdout, Stderr io.Writer
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int
	Took           time.Duration
}

// Output is both streams, for messages.
func (r Result) Output() string { return strings.TrimSpace(r.Stdout + "\n" + r.Stderr) }

// Exec runs a command inside the instance. Its error is for commands that could not be run or
// were ended by ctx; a command that ran and failed has a Code.
func (in *Instance) Exec(ctx context.Context, c Command) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := in.Prepare(ctx, c)
	cmd.Stdout, cmd.Stderr = tee(&stdout, c.Stdout), tee(&stderr, c.Stderr)
	start := time.Now()
	if err := in.StartProcess(cmd); err != nil {
		return Result{Code: -1}, fmt.Errorf("start %s: %w", c.Name, err)
	}
	err := cmd.Wait()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode(), Took: time.Since(start)}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return result, fmt.Errorf("%s %s: %w after %v\n%s", c.Name, strings.Join(c.Args, " "), ctx.Err(), result.Took.Round(time.Second), result.Output())
	}
	if err != nil && !errors.As(err, &exit) {
		return result, fmt.Errorf("%s %s: %w", c.Name, strings.Join(c.Args, " "), err)
	}
	return result, nil
}

func tee(buffer io.Writer, also io.Writer) io.Writer {
	if also == nil {
		return buffer
	}
	return io.MultiWriter(buffer, also)
}

// Prepare makes the command for StartProcess, for those who need more than Exec gives.
func (in *Instance) Prepare(ctx context.Context, c Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Name, c.Args...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Env = append([]string{
		"PATH=/var/lib/boxyard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=dumb",
	}, in.opts.Env...)
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.Stdin = c.Stdin
	cmd.WaitDelay = 5 * time.Second // a daemon that keeps our pipe open does not keep us
	return cmd
}

// StartProcess starts a prepared command inside the instance.
func (in *Instance) StartProcess(cmd *exec.Cmd) error { return in.Inside(cmd.Start) }

// Run is Exec for commands that should succeed: a code that is not 0 is an error. It returns
// what was written to stdout.
func (in *Instance) Run(ctx context.Context, name string, args ...string) (string, error) {
	result, err := in.Exec(ctx, Command{Name: name, Args: args})
	if err != nil {
		return result.Stdout, err
	}
	if result.Code != 0 {
		return result.Stdout, fmt.Errorf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), result.Code, result.Output())
	}
	return result.Stdout, nil
}

// Boxyard, Docker and Kubectl are Run for the commands of the binary under test.
func (in *Instance) Boxyard(ctx context.Context, args ...string) (string, error) {
	return in.Run(ctx, in.Binary, args...)
}

// Docker runs `boxyard docker`.
func (in *Instance) Docker(ctx context.Context, args ...string) (string, error) {
	return in.Boxyard(ctx, append([]string{"docker"}, args...)...)
}

// Kubectl runs `boxyard kubectl`.
func (in *Instance) Kubectl(ctx context.Context, args ...string) (string, error) {
	return in.Boxyard(ctx, append([]string{"kubectl"}, args...)...)
}

// UpArgs is `up` with the flags that the binary under test needs.
func (in *Instance) UpArgs(extra ...string) []string {
	args := []string{"up"}
	if in.payloadDir != "" {
		args = append(args, "--payload-dir", in.payloadDir)
	}
	return append(args, extra...)
}

// Up runs `boxyard up`.
func (in *Instance) Up(ctx context.Context, extra ...string) (Result, error) {
	return in.Exec(ctx, Command{Name: in.Binary, Args: in.UpArgs(extra...)})
}

// Status is `boxyard status -o json`, as much of it as tests need.
type Status struct {
	Ready      bool   `json:"ready"`
	PID        int    `json:"pid"`
	Version    string `json:"version"`
	Components []struct {
		Name        string    `json:"name"`
		State       string    `json:"state"`
		Since       time.Time `json:"since"`
		PID         int       `json:"pid"`
		MemoryBytes int64     `json:"memoryBytes"`
		Version     string    `json:"version"`
		WaitingFor  string    `json:"waitingFor"`
		Restarts    int       `json:"restarts"`
		LastError   string    `json:"lastError"`
		Warning     string    `json:"warning"`
	} `json:"components"`
}

// PIDOf is the process of a part, 0 where it has none. The daemon is called "boxyard".
func (s Status) PIDOf(part string) int {
	if part == "boxyard" {
		return s.PID
	}
	for _, c := range s.Components {
		if c.Name == part {
			return c.PID
		}
	}
	return 0
}

// Status asks the running daemon. A degraded platform has a status too.
func (in *Instance) Status(ctx context.Context) (Status, error) {
	var status Status
	const degraded = 3
	result, err := in.Exec(ctx, Command{Name: in.Binary, Args: []string{"status", "-o", "json"}})
	if err != nil {
		return status, err
	}
	if result.Code != 0 && result.Code != degraded {
		return status, fmt.Errorf("boxyard status: exit code %d\n%s", result.Code, result.Output())
	}
	if err := json.Unmarshal([]byte(result.Stdout), &status); err != nil {
		return status, fmt.Errorf("boxyard status -o json: %w\n%s", err, result.Stdout)
	}
	return status, nil
}

// Dial opens a connection from inside the instance. addr must be a literal address, or the path of a unix socket.
func (in *Instance) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "unix" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if net.ParseIP(host) == nil {
			return nil, fmt.Errorf("dial %s: not a literal address", addr)
		}
	}
	var conn net.Conn
	err := in.Inside(func() error {
		var err error
		// With one literal address the dialer opens its socket in this goroutine, so on this thread.
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Get fetches a URL with a literal address from inside the instance.
func (in *Instance) Get(ctx context.Context, url string) (int, string, error) {
	transport := &http.Transport{DialContext: in.Dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body), err
}
