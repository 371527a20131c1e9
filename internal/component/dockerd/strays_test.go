package dockerd

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestStrays(t *testing.T) {
	present := []bridge{{name: "br-recorded"}, {name: "br-before"}, {name: "br-later"}, {name: "br-used", used: true}}
	recorded := []string{"boxyard1", "br-recorded"}
	for name, c := range map[string]struct {
		known          []string
		first          bool
		stray, foreign []string
	}{
		"the first launch deletes nothing": {first: true, foreign: []string{"br-before", "br-later", "br-used"}},
		"what came since the last launch": {
			known: []string{"br-before", "br-gone"}, stray: []string{"br-later"}, foreign: []string{"br-before", "br-used"},
		},
	} {
		stray, foreign := strays(present, recorded, c.known, c.first)
		if !slices.Equal(stray, c.stray) || !slices.Equal(foreign, c.foreign) {
			t.Errorf("%s: stray %q, foreign %q", name, stray, foreign)
		}
	}
}

func TestForgetRules(t *testing.T) {
	const listed = `table ip docker-bridges {
	map filter-forward-in-jumps {
		type ifname : verdict
		elements = { "boxyard1" : jump filter-forward-in__boxyard1,
			     "br-aa" : jump filter-forward-in__br-aa, "br-aab" : jump filter-forward-in__br-aab }
	}

	map nat-postrouting-out-jumps {
		type ifname : verdict
		elements = { "br-aa" : jump nat-postrouting-out__br-aa }
	}

	chain filter-FORWARD {
		type filter hook forward priority filter; policy accept;
		oifname vmap @filter-forward-in-jumps
	}

	chain filter-forward-in__br-aa {
		counter packets 0 bytes 0 drop comment "br-aa : x"
	}

	chain filter-forward-in__br-aab {
	}
}
`
	const want = `delete element ip docker-bridges filter-forward-in-jumps { "br-aa" }
delete element ip docker-bridges nat-postrouting-out-jumps { "br-aa" }
flush chain ip docker-bridges filter-forward-in__br-aa
delete chain ip docker-bridges filter-forward-in__br-aa
`
	if got := forgetRules(listed, "ip", []string{"br-aa", "br-cc"}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestUnmoved(t *testing.T) {
	veth := func(index, peer, namespace int, name string) netlink.Link {
		attrs := netlink.NewLinkAttrs()
		attrs.Index, attrs.ParentIndex, attrs.NetNsID, attrs.Name = index, peer, namespace, name
		return &netlink.Veth{LinkAttrs: attrs}
	}
	links := []netlink.Link{
		veth(11, 10, -1, "veth0123456"), veth(10, 11, -1, "vethabcdef0"),
		veth(12, 13, 2, "veth1123456"), veth(13, 12, -1, "veth2123456"), // the other end of 12 is elsewhere
		veth(14, 15, -1, "veth01234567"), veth(15, 14, -1, "eth0"), // of a pod
	}
	if got := unmoved(links); !slices.Equal(got, []string{"vethabcdef0"}) {
		t.Errorf("got %q", got)
	}
}
