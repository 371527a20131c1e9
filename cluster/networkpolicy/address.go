package networkpolicy

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// own gives each pod the addresses that are its own now. What the sandboxes say counts more than what the
// kubelet has reported, which is a second late; of two pods that report one address the younger has it: an
// address may belong to another pod before the API knows that the first has ended.
func own(pods []*pod, sandboxes map[types.UID][]netip.Addr) []addressed {
	type claim struct {
		by    int
		first bool // by its sandbox
	}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p *pod) bool { return p.apart })
	slices.SortFunc(pods, younger)
	owners := map[netip.Addr]claim{}
	for i, p := range pods {
		addresses, first := sandboxes[p.UID]
		if !first {
			addresses = p.addresses
		}
		for _, a := range addresses {
			if before, taken := owners[a]; !taken || first || !before.first {
				owners[a] = claim{by: i, first: first}
			}
		}
	}
	all := make([]addressed, len(pods))
	for i, p := range pods {
		all[i].pod = p
	}
	for address, c := range owners {
		all[c.by].addresses = append(all[c.by].addresses, address)
	}
	return slices.DeleteFunc(all, func(a addressed) bool { return len(a.addresses) == 0 })
}

func younger(a, b *pod) int {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	if a.UID < b.UID {
		return -1
	}
	return 1
}
