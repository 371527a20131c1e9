package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"k8s.io/klog/v2"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/follow"
)

// resolvConf is what the kubelet takes for the host's resolv.conf. The host's own may be missing, which would
// keep every pod from starting, or name addresses that mean nothing in a pod.
func resolvConf(c config.Cluster) string { return c.Run("resolv.conf") }

// podResolvConf is the host's file without resolvers on loopback addresses, such as systemd-resolved's. Where
// none is left, pods ask our DNS, which runs on the host and asks those.
func podResolvConf(host []byte, clusterDNS []string) []byte {
	var out bytes.Buffer
	servers := 0
	for line := range strings.Lines(string(host)) {
		words := strings.Fields(line)
		switch {
		case len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";"):
			continue
		case words[0] == "nameserver":
			address, err := netip.ParseAddr(words[1])
			if err != nil || address.Unmap().IsLoopback() || address.IsUnspecified() {
				continue
			}
			servers++
		}
		out.WriteString(strings.Join(words, " ") + "\n")
	}
	if servers == 0 {
		for _, address := range clusterDNS {
			out.WriteString("nameserver " + address + "\n")
		}
	}
	return out.Bytes()
}

// FollowResolvConf keeps the kubelet's resolv.conf up to date until ctx is done.
func FollowResolvConf(ctx context.Context, c config.Cluster, last follow.Stamp) error {
	follow.File(ctx, c.ResolvConf, last, func() {
		if err := WriteResolvConf(c); err != nil {
			klog.ErrorS(err, "Going on with the old resolvers")
		}
	})
	return nil
}

// WriteResolvConf writes the kubelet's resolv.conf. It must be there before the kubelet starts.
func WriteResolvConf(c config.Cluster) error {
	host, err := os.ReadFile(c.ResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the host's resolvers: %w", err)
	}
	temp := resolvConf(c) + ".new"
	if err := os.WriteFile(temp, podResolvConf(host, c.ClusterDNS), 0o644); err != nil {
		return fmt.Errorf("write the pods' resolvers: %w", err)
	}
	if err := os.Rename(temp, resolvConf(c)); err != nil {
		return fmt.Errorf("write the pods' resolvers: %w", err)
	}
	return nil
}
