package loadbalancer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// refusal is why a Service cannot have what it asks for, told in an event.
type refusal struct {
	reason, message string
	ports           bool // the ports are why, which the condition LoadBalancerPortsError tells too
}

// pools gives each Service an address of its own from each of its families.
type pools struct {
	prefixes []netip.Prefix
	holders  map[netip.Addr]string // by the key of the Service
}

func newPools(prefixes []netip.Prefix) *pools {
	return &pools{prefixes: prefixes, holders: map[netip.Addr]string{}}
}

// adopt lets a Service keep what its status says, unless another has it.
func (p *pools) adopt(key string, svc *corev1.Service) {
	for _, in := range svc.Status.LoadBalancer.Ingress {
		a, err := netip.ParseAddr(in.IP)
		if err != nil {
			continue
		}
		i := slices.IndexFunc(p.prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(a) })
		if i < 0 || p.holders[a] != "" || p.heldFrom(p.prefixes[i], key).IsValid() {
			continue
		}
		p.holders[a] = key
	}
}

// assign returns one address for each family of the Service, all or none. With a
// refusal it may return those that the Service goes on to have.
func (p *pools) assign(key string, svc *corev1.Service) ([]netip.Addr, *refusal) {
	wish, foreign := p.wish(svc)
	var kept, chosen []netip.Addr
	var refused *refusal
	for _, family := range svc.Spec.IPFamilies {
		prefix, ok := p.of(family)
		if !ok {
			return nil, &refusal{reason: "NoAddressOfFamily", message: fmt.Sprintf("there is no pool of %s addresses: IPv6 is off on this machine", family)}
		}
		held := p.heldFrom(prefix, key)
		if held.IsValid() {
			kept = append(kept, held)
		}
		a := held
		switch {
		case wish.IsValid() && prefix.Contains(wish):
			a = wish
			if by := p.holders[wish]; by != "" && by != key {
				refused = &refusal{reason: "AddressTaken", message: fmt.Sprintf("spec.loadBalancerIP %s belongs to service %s: take another, or none for any that is free", wish, by)}
			}
		case !held.IsValid():
			if a = p.lowestFree(prefix); !a.IsValid() {
				refused = p.exhausted(prefix)
			}
		}
		chosen = append(chosen, a)
	}
	if refused != nil {
		if len(kept) < len(svc.Spec.IPFamilies) {
			kept = nil
		}
		return kept, refused
	}
	p.release(key)
	for _, a := range chosen {
		p.holders[a] = key
	}
	return chosen, foreign
}

// wish is what spec.loadBalancerIP names, or a note that it cannot be had here.
func (p *pools) wish(svc *corev1.Service) (netip.Addr, *refusal) {
	text := svc.Spec.LoadBalancerIP //nolint:staticcheck // deprecated, and still what people have for this
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err == nil && slices.ContainsFunc(p.prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(a) }) {
		return a, nil
	}
	return netip.Addr{}, &refusal{
		reason:  "AddressNotInPool",
		message: fmt.Sprintf("spec.loadBalancerIP %s is not in the pool (%s): it is ignored", text, join(p.prefixes)),
	}
}

func (p *pools) release(key string) bool { return release(p.holders, key) }

// release tells whether something came free.
func release[K comparable](holders map[K]string, key string) bool {
	held := len(holders)
	maps.DeleteFunc(holders, func(_ K, by string) bool { return by == key })
	return len(holders) < held
}

func (p *pools) of(family corev1.IPFamily) (netip.Prefix, bool) {
	i := slices.IndexFunc(p.prefixes, func(prefix netip.Prefix) bool { return familyOf(prefix.Addr()) == family })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return p.prefixes[i], true
}

func (p *pools) heldFrom(prefix netip.Prefix, key string) netip.Addr {
	for a, by := range p.holders {
		if by == key && prefix.Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

// lowestFree leaves out the first and the last address of a range, which no network
// uses for machines, unless the range is too small to have others.
func (p *pools) lowestFree(prefix netip.Prefix) netip.Addr {
	a := prefix.Masked().Addr()
	spare := prefix.Bits() < a.BitLen()-1
	if spare {
		a = a.Next()
	}
	for ; a.IsValid() && prefix.Contains(a); a = a.Next() {
		last := !a.Next().IsValid() || !prefix.Contains(a.Next())
		if spare && last {
			break
		}
		if p.holders[a] == "" {
			return a
		}
	}
	return netip.Addr{}
}

func (p *pools) exhausted(prefix netip.Prefix) *refusal {
	var holders []string
	for a, by := range p.holders {
		if prefix.Contains(a) {
			holders = append(holders, by)
		}
	}
	slices.Sort(holders)
	total := len(holders)
	if most := 3; total > most {
		holders = append(holders[:most], fmt.Sprintf("and %d more", total-most))
	}
	return &refusal{reason: "NoAddressLeft", message: fmt.Sprintf(
		"no address is left in the pool %s: in use by %s; delete one of them or change its type, or set a larger network.loadBalancerPool in config.yaml and start Boxyard again",
		prefix, strings.Join(holders, ", "))}
}

func familyOf(a netip.Addr) corev1.IPFamily {
	if a.Is6() {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

func join[T interface{ String() string }](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}
