package network

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// encode makes a netlink message with one attribute after a fixed part.
func encode(kind uint16, fixed []byte, attribute uint16, value string) []byte {
	attr := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)+1))
	attr = binary.NativeEndian.AppendUint16(attr, attribute)
	attr = append(append(attr, value...), 0)
	body := append(append([]byte{}, fixed...), attr...)
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(m, make([]byte, unix.SizeofNlMsghdr-len(m))...)
	m = append(m, body...)
	return append(m, make([]byte, align(len(m))-len(m))...)
}

func TestTouches(t *testing.T) {
	link := func(kind uint16, name string) []byte {
		return encode(kind, make([]byte, unix.SizeofIfInfomsg), unix.IFLA_IFNAME, name)
	}
	route := func(protocol byte) []byte {
		fixed := make([]byte, unix.SizeofRtMsg)
		fixed[5] = protocol
		return encode(unix.RTM_DELROUTE, fixed, unix.RTA_DST, "xxxx")
	}
	rules := func(kind uint16, table string) []byte {
		return encode(unix.NFNL_SUBSYS_NFTABLES<<8|kind, make([]byte, 4), 1, table)
	}
	tests := map[string]struct {
		data         []byte
		links, rules bool
	}{
		"our bridge goes":           {link(unix.RTM_DELLINK, "boxyard0"), true, false},
		"our bridge changes":        {link(unix.RTM_NEWLINK, "boxyard0"), true, false},
		"a pod's interface goes":    {link(unix.RTM_DELLINK, "veth1234"), false, false},
		"an address goes":           {encode(unix.RTM_DELADDR, make([]byte, 8), 1, "xxxx"), true, false},
		"our route goes":            {route(routeProtocol), true, false},
		"another route goes":        {route(unix.RTPROT_KERNEL), false, false},
		"our table goes":            {rules(unix.NFT_MSG_DELTABLE, "boxyard"), false, true},
		"we make our table":         {rules(unix.NFT_MSG_NEWRULE, "boxyard"), false, false},
		"kube-proxy's rules change": {rules(unix.NFT_MSG_DELRULE, "kube-proxy"), false, false},
		"moby's rules change":       {rules(unix.NFT_MSG_NEWRULE, "docker-bridges"), false, false},
		"a firewall's rules change": {rules(unix.NFT_MSG_DELRULE, "firewalld"), false, true},
		"a firewall's set changes":  {rules(unix.NFT_MSG_NEWSETELEM, "firewalld"), false, false},
		"torn":                      {link(unix.RTM_DELLINK, "boxyard0")[:20], false, false},
		"nothing":                   {nil, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// Two in one datagram: the second must be found too.
			var links, rules bool
			for _, m := range parseMessages(append(link(unix.RTM_NEWLINK, "other"), tt.data...)) {
				links = links || m.touchesLinks([]string{"boxyard0"})
				rules = rules || m.touchesRules()
			}
			if links != tt.links || rules != tt.rules {
				t.Errorf("links %v, rules %v", links, rules)
			}
		})
	}
}

func FuzzParseMessages(f *testing.F) {
	f.Add(encode(unix.RTM_DELLINK, make([]byte, unix.SizeofIfInfomsg), unix.IFLA_IFNAME, "boxyard0"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		for _, m := range parseMessages(data) {
			m.touchesLinks(nil)
			m.touchesRules()
		}
	})
}
