package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
)

// tree is what is tested.
type tree struct {
	// commit is the last one; "-dirty" where there is more than that.
	commit string
	// state stands for everything but documents: two runs of one state count as runs of the same.
	state string
}

func readTree(ctx context.Context, repo string) (tree, error) {
	head, err := git(ctx, repo, "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return tree{}, err
	}
	files, err := git(ctx, repo, "ls-tree", "-r", "HEAD")
	if err != nil {
		return tree{}, err
	}
	changed, err := git(ctx, repo, "status", "--porcelain", "--no-renames", "--untracked-files=all")
	if err != nil {
		return tree{}, err
	}
	hash := sha256.New()
	for line := range strings.Lines(files) {
		if _, name, found := strings.Cut(strings.TrimSpace(line), "\t"); found && !document(name) {
			_, _ = io.WriteString(hash, line)
		}
	}
	t := tree{commit: strings.TrimSpace(head)}
	for line := range strings.Lines(changed) {
		name := strings.Trim(strings.TrimSpace(line)[2:], ` "`)
		if document(name) {
			continue
		}
		if !strings.HasSuffix(t.commit, "-dirty") {
			t.commit += "-dirty"
		}
		data, err := os.ReadFile(path.Join(repo, name))
		if err != nil {
			data = nil // it was deleted
		}
		_, _ = fmt.Fprintf(hash, "%s %x\n", name, sha256.Sum256(data))
	}
	t.state = hex.EncodeToString(hash.Sum(nil))[:12]
	return t, nil
}

// document says whether a file is for people only.
func document(name string) bool {
	return strings.HasPrefix(name, "docs/") || path.Ext(name) == ".md"
}

func git(ctx context.Context, repo string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = repo
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return string(out), nil
}
