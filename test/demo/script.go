package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// script runs steps until one fails: then err is set, and every later step does nothing and
// returns zero values. So a walk of many steps reads from top to bottom, without a check after
// each line (as bufio.Writer does it).
type script struct {
	ctx    context.Context //nolint:containedctx // one script is one run
	out    io.Writer
	dir    string // working directory of commands
	binary string
	env    []string

	err    error
	took   time.Duration // of the last command
	number int
}

func newScript(ctx context.Context, out io.Writer, dir, binary string) *script {
	return &script{ctx: ctx, out: out, dir: dir, binary: binary}
}

// title starts a numbered section.
func (s *script) title(format string, args ...any) {
	if s.err != nil {
		return
	}
	s.number++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.number, fmt.Sprintf(format, args...))
}

// note prints a line of our own.
func (s *script) note(format string, args ...any) {
	if s.err == nil {
		fmt.Fprintf(s.out, "  -> %s\n", fmt.Sprintf(format, args...))
	}
}

// run prints a command, runs it, shows what it says, and fails unless it succeeds. docker,
// kubectl and boxyard are those of the binary under demonstration.
func (s *script) run(args ...string) string {
	if s.err != nil {
		return ""
	}
	s.command(args)
	out, err := s.try(args...)
	if err != nil {
		s.err = err
		fmt.Fprintf(s.out, "%s\n", strings.TrimSpace(out)) // all of it
		return out
	}
	s.show(out)
	return out
}

// command prints what is about to be run, quoted where a shell needs it.
func (s *script) command(args []string) {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	fmt.Fprintf(s.out, "$ %s\n", strings.Join(quoted, " "))
}

func quote(arg string) string {
	if arg != "" && !strings.ContainsAny(arg, " \t\n'\"\\$&|;<>(){}*?[]#~!`") {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// try runs a command without a word, and returns what it wrote to both streams.
func (s *script) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Minute)
	defer cancel()
	words := args
	switch args[0] {
	case "boxyard":
		words = append([]string{s.binary}, args[1:]...)
	case "docker", "kubectl":
		words = append([]string{s.binary}, args...)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	s.took = time.Since(start)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w after %v", ctx.Err(), seconds(s.took))
		}
		return out.String(), fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// What is shown of long outputs: enough to see what happened.
const headLines, tailLines, maxWidth = 10, 6, 160

func (s *script) show(text string) {
	text = strings.TrimSpace(ansi.ReplaceAllString(text, ""))
	if text == "" {
		return
	}
	lines := strings.Split(text, "\n")
	if extra := len(lines) - headLines - tailLines; extra > 1 {
		rest := append([]string{fmt.Sprintf("... %d more lines ...", extra)}, lines[len(lines)-tailLines:]...)
		lines = append(lines[:headLines:headLines], rest...)
	}
	for _, line := range lines {
		line = strings.TrimRight(line, "\r ")
		if len(line) > maxWidth {
			line = line[:maxWidth] + "..."
		}
		fmt.Fprintf(s.out, "  %s\n", line)
	}
}

//nolint:gochecknoglobals // a constant, as far as the language allows
var ansi = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// fail ends the script.
func (s *script) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// expect fails unless the text contains each of the parts.
func (s *script) expect(what, text string, parts ...string) {
	for _, part := range parts {
		if s.err == nil && !strings.Contains(text, part) {
			s.fail("%s: expected to find %q in:\n%s", what, part, strings.TrimSpace(text))
		}
	}
}

// eventually polls until check gives nil, and fails with its last error after the limit.
func (s *script) eventually(limit time.Duration, what string, check func() error) {
	if s.err != nil {
		return
	}
	start := time.Now()
	for {
		err := check()
		if s.err != nil {
			return // the check itself could not be made
		}
		if err == nil {
			s.note("%s (after %v)", what, seconds(time.Since(start)))
			return
		}
		if time.Since(start) > limit || s.ctx.Err() != nil {
			s.fail("not within %v: %s: %w", limit, what, err)
			return
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// fetch prints and does what `curl -s URL` does, and fails unless it succeeds. A server that
// has just been started gets some seconds to listen.
func (s *script) fetch(url string, want ...string) string {
	if s.err != nil {
		return ""
	}
	s.command([]string{"curl", "-s", url})
	var body string
	deadline := time.Now().Add(10 * time.Second)
	for {
		var err error
		if body, err = s.get(url); err == nil {
			break
		}
		if time.Now().After(deadline) || s.ctx.Err() != nil {
			s.fail("%w", err)
			return ""
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.show(body)
	s.expect(url, body, want...)
	return body
}

func (s *script) get(url string) (string, error) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return string(body), nil
}

func seconds(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
