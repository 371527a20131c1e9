package dns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// maxUpstreams is the limit of CoreDNS' plugin forward.
const maxUpstreams = 15

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
