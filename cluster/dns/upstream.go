package dns

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	watchInterval = time.Second
	maxUpstreams  = 15 // the limit of CoreDNS' plugin forward
)

// upstreams are the resolvers that resolv.conf names, without the addresses in own: asking ourselves would
// never end. A file that is missing or cannot be read names none.
func upstreams(file string, own []string) []string {
	c, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil
	}
	var found []string
	for _, server := range c.Servers {
		address, err := netip.ParseAddr(server)
		if err != nil {
			continue
		}
		text := address.Unmap().String()
		if slices.Contains(own, text) || slices.Contains(found, text) || address.IsUnspecified() {
			continue
		}
		found = append(found, text)
	}
	return found[:min(len(found), maxUpstreams)]
}

// stamp tells one version of a file from another. It follows a link, which /etc/resolv.conf often is.
type stamp struct {
	modified time.Time
	size     int64
	exists   bool
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{modified: info.ModTime(), size: info.Size(), exists: true}
}

// watch calls changed whenever the file is another one than at last, until ctx is done. It polls: the file is
// replaced, written in place or reached through links that change, depending on who manages it.
func watch(ctx context.Context, file string, last stamp, changed func()) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := stampOf(file); now != last {
			last = now
			changed()
		}
	}
}
