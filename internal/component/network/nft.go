package network

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// nft runs the nft command, the only stable way to the kernel's nf_tables that
// kube-proxy and moby take too.
type nft struct{ path string }

func (n nft) run(ctx context.Context, script string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, n.path, args...)
	cmd.Stdin = strings.NewReader(script)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func (n nft) apply(ctx context.Context, script string) error {
	_, err := n.run(ctx, script, "-f", "-")
	return err
}

// chains lists all chains without their rules: cheap, however many there are.
func (n nft) chains(ctx context.Context) (ruleset, error) {
	out, err := n.run(ctx, "", "-j", "list", "chains")
	if err != nil {
		return ruleset{}, err
	}
	return parseRuleset(out)
}

// table lists one table with its rules, without the elements of its sets.
func (n nft) table(ctx context.Context, t chainKey) (ruleset, error) {
	out, err := n.run(ctx, "", "-j", "-t", "-a", "list", "table", t.family, t.table)
	if err != nil {
		return ruleset{}, err
	}
	return parseRuleset(out)
}
