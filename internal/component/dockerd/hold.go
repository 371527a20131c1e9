package dockerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

const (
	dockerTable = "docker-bridges" // moby daemon/libnetwork/drivers/bridge/internal/nftabler
	holdTable   = "boxyard-docker"
)

// hold keeps published ports open while dockerd starts. dockerd flushes its nft tables first, and
// puts the rules of each container back later; until then, for some 100 ms, a connection to a published
// port would be refused, or hang in the backlog of the socket by which dockerd reserves the port. So
// what is in the tables is copied before, with a priority behind theirs: a rule of dockerd, where
// there is one, comes first, because a connection is translated once.
//
// A copy that is there already is kept: it is from a start that did not succeed, and is better than
// what that start has left in dockerd's tables.
func hold(ctx context.Context, nft string) error {
	return errors.Join(holdFamily(ctx, nft, "ip"), holdFamily(ctx, nft, "ip6"))
}

func holdFamily(ctx context.Context, nft, family string) error {
	if _, err := run(ctx, nft, "", "list", "table", family, holdTable); err == nil {
		return nil
	}
	rules, err := run(ctx, nft, "", "--stateless", "list", "table", family, dockerTable)
	if err != nil {
		return nil // no such table: dockerd starts for the first time since the boot
	}
	_, err = run(ctx, nft, holdRules(rules, family), "-f", "-")
	return err
}

// release removes the copy, once dockerd's own rules are whole.
func release(ctx context.Context, nft string) error {
	var script strings.Builder
	for _, family := range []string{"ip", "ip6"} {
		// Deleting what is not there is an error, and adding what is there is none.
		fmt.Fprintf(&script, "add table %[1]s %[2]s\ndelete table %[1]s %[2]s\n", family, holdTable)
	}
	_, err := run(ctx, nft, script.String(), "-f", "-")
	return err
}

// holdRules makes the copy from what nft lists, whose output is its own input. Only address
// translation is held: filters drop what is not allowed yet, and what they dropped is sent again.
func holdRules(listed, family string) string {
	hook := regexp.MustCompile(`type nat hook (\w+) priority [^;]+;`)
	behind := map[string]string{"prerouting": "-99", "output": "-99", "postrouting": "101"}
	_, body, _ := strings.Cut(listed, "{\n")
	body = strings.TrimSuffix(strings.TrimSpace(body), "}")
	var out []string
	for block := range strings.SplitSeq(body, "\n\n") {
		if strings.Contains(block, "type filter hook ") {
			continue
		}
		out = append(out, hook.ReplaceAllStringFunc(block, func(s string) string {
			point := hook.FindStringSubmatch(s)[1]
			return "type nat hook " + point + " priority " + behind[point] + ";"
		}))
	}
	return "table " + family + " " + holdTable + " {\n" + strings.TrimRight(strings.Join(out, "\n\n"), "\n") + "\n}\n"
}

func run(ctx context.Context, nft, script string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, nft, args...)
	cmd.Stdin = strings.NewReader(script)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
