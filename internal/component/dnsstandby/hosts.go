package dnsstandby

import (
	"errors"
	"strings"

	"github.com/miekg/dns"
)

const hostsZone = "docker.internal."

// parseHosts reads what component/names wrote: lines of an address and a name.
func parseHosts(data []byte) (*names, error) {
	n := newNames(hostsZone)
	for line := range strings.Lines(string(data)) {
		address, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return nil, errors.New("a line without a name")
		}
		n.addAddress(dns.Fqdn(name), address)
	}
	return n, nil
}
