package networkpolicy

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
)

// addressRange is from and to and what lies between, of one family.
type addressRange struct{ from, to netip.Addr }

func rangeOf(p netip.Prefix) addressRange {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return addressRange{p.Addr(), to}
}

// without is r with a hole.
func (r addressRange) without(hole addressRange) []addressRange {
	if hole.from.BitLen() != r.from.BitLen() || hole.to.Less(r.from) || r.to.Less(hole.from) {
		return []addressRange{r}
	}
	var left []addressRange
	if r.from.Less(hole.from) {
		left = append(left, addressRange{r.from, hole.from.Prev()})
	}
	if hole.to.Less(r.to) {
		left = append(left, addressRange{hole.to.Next(), r.to})
	}
	return left
}

func (r addressRange) contains(a netip.Addr) bool {
	return a.BitLen() == r.from.BitLen() && !a.Less(r.from) && !r.to.Less(a)
}

// String is the range as nft writes it.
func (r addressRange) String() string {
	if r.from == r.to {
		return r.from.String()
	}
	return r.from.String() + "-" + r.to.String()
}

// blockRanges are the addresses of an ipBlock. One that cannot be read, which the API
// does not let pass, has none.
func blockRanges(block *networkingv1.IPBlock) []addressRange {
	whole, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		return nil
	}
	ranges := []addressRange{rangeOf(whole)}
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return nil // better too few addresses than too many
		}
		var left []addressRange
		for _, r := range ranges {
			left = append(left, r.without(rangeOf(except))...)
		}
		ranges = left
	}
	return ranges
}

// union joins what overlaps or touches: the ranges of one nft set must lie apart.
func union(ranges []addressRange) []addressRange {
	slices.SortFunc(ranges, func(a, b addressRange) int { return a.from.Compare(b.from) })
	var joined []addressRange
	for _, r := range ranges {
		if n := len(joined) - 1; n >= 0 && joined[n].touches(r) {
			if joined[n].to.Less(r.to) {
				joined[n].to = r.to
			}
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// touches is asked about a range that begins later.
func (r addressRange) touches(next addressRange) bool {
	if r.from.BitLen() != next.from.BitLen() {
		return false
	}
	after := r.to.Next() // invalid after the last address of all
	return !after.IsValid() || !after.Less(next.from)
}
