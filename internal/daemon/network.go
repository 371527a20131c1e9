package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/boxyard/boxyard/internal/component/dockerd"
	"github.com/boxyard/boxyard/internal/component/network"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/paths"
)

// removeNetwork takes back what the component network, the other parts and the CNI plugins have
// made. All of them have ended. before are the nft tables of the time before Boxyard.
func removeNetwork(ctx context.Context, l paths.Layout, o network.Options, before []string, log *slog.Logger) error {
	net, err := network.New(o, log)
	if err != nil {
		return err
	}
	return errors.Join(removeDockerLinks(l), net.Remove(ctx), removeTables(ctx, before))
}

func removeDockerLinks(l paths.Layout) error {
	names, err := dockerd.Links(l)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		link, err := netlink.LinkByName(name)
		if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
			continue
		}
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove network interface %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// partTables are the nft tables of the parts, with the programs that may keep the same table for
// another engine on this host.
func partTables() map[string][]string {
	kubernetes := []string{"kubelet", "kube-apiserver", "k3s", "k3s-server", "k0s", "kubelite"}
	tables := map[string][]string{
		"ip kube-proxy": kubernetes, "ip6 kube-proxy": kubernetes,
		"inet cni_hostport": kubernetes, // portmap's backend nftables
		// The process cluster writes these, and they stay as long as pods do.
		"inet " + network.PolicyTable:   nil,
		"inet " + network.NodePortTable: nil,
	}
	for _, t := range dockerd.NFTTables() {
		tables[t[0]+" "+t[1]] = []string{"dockerd"}
	}
	return tables
}

// removeTables deletes those that are there, were not there before us, and are nobody else's now.
func removeTables(ctx context.Context, before []string) error {
	facts, err := host.Detect(ctx)
	if err != nil || facts.NFT == "" {
		return err
	}
	running := make([]string, 0, len(facts.Engines))
	for _, e := range facts.Engines {
		running = append(running, e.Name)
	}
	var script strings.Builder
	for _, table := range tablesToRemove(facts.NFTTables, before, running) {
		fmt.Fprintf(&script, "delete table %s\n", table)
	}
	if script.Len() == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, facts.NFT, "-f", "-")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("delete nft tables: %w: %s", err, out)
	}
	return nil
}

func tablesToRemove(now, before, running []string) []string {
	owners := partTables()
	var tables []string
	for _, table := range now {
		others, ours := owners[table]
		if !ours || slices.Contains(before, table) || slices.ContainsFunc(others, func(o string) bool { return slices.Contains(running, o) }) {
			continue
		}
		tables = append(tables, table)
	}
	return tables
}
