package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// change is what an event of the kernel says may be gone.
type change int

const (
	linksChanged change = iota
	rulesChanged
)

const (
	nfnlgrpNftables = 7      // NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h
	nlaTypeMask     = 0x3fff // NLA_TYPE_MASK of linux/netlink.h: without the flags nested and byte order
)

// watch reports changes to our interfaces and routes and to nft tables until ctx
// is done. It may miss some, which is why CheckHealth looks by itself.
func watch(ctx context.Context, bridges []string) (<-chan change, error) {
	changes := make(chan change, 1)
	links, err := subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, err
	}
	rules, err := subscribe(unix.NETLINK_NETFILTER, nfnlgrpNftables)
	if err != nil {
		_ = links.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		_ = links.Close()
		_ = rules.Close()
	})
	go receive(ctx, links, changes, linksChanged, func(m message) bool { return m.touchesLinks(bridges) })
	go receive(ctx, rules, changes, rulesChanged, message.touchesRules)
	return changes, nil
}

func subscribe(protocol int, groups ...int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("join netlink group %d: %w", group, err)
		}
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

func receive(ctx context.Context, socket *os.File, changes chan<- change, kind change, matters func(message) bool) {
	buffer := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := socket.Read(buffer)
		// The kernel says ENOBUFS when it had to leave events out: anything may have changed.
		lost := errors.Is(err, unix.ENOBUFS)
		if err != nil && !lost {
			return
		}
		if !lost && !slices.ContainsFunc(parseMessages(buffer[:n]), matters) {
			continue
		}
		select {
		case changes <- kind:
		case <-ctx.Done():
		}
	}
}

// message is one netlink message without its header.
type message struct {
	kind uint16
	body []byte
}

func parseMessages(data []byte) []message {
	var messages []message
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			break
		}
		messages = append(messages, message{kind: binary.NativeEndian.Uint16(data[4:]), body: data[unix.SizeofNlMsghdr:size]})
		data = data[min(align(size), len(data)):]
	}
	return messages
}

// attribute finds one attribute after a fixed part of the given size.
func (m message) attribute(fixed int, kind uint16) []byte {
	if len(m.body) < fixed {
		return nil
	}
	data := m.body[fixed:]
	for len(data) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(data))
		if size < unix.SizeofRtAttr || size > len(data) {
			return nil
		}
		if binary.NativeEndian.Uint16(data[2:])&nlaTypeMask == kind {
			return data[unix.SizeofRtAttr:size]
		}
		data = data[min(align(size), len(data)):]
	}
	return nil
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// touchesLinks leaves out what pods do as they come and go.
func (m message) touchesLinks(bridges []string) bool {
	switch m.kind {
	case unix.RTM_DELLINK, unix.RTM_NEWLINK:
		name := strings.TrimRight(string(m.attribute(unix.SizeofIfInfomsg, unix.IFLA_IFNAME)), "\x00")
		return slices.Contains(bridges, name)
	case unix.RTM_DELADDR:
		return true
	case unix.RTM_DELROUTE:
		// struct rtmsg: family, dst_len, src_len, tos, table, protocol.
		return len(m.body) > 5 && m.body[5] == routeProtocol
	default:
		return false
	}
}

// touchesRules leaves out elements of sets, which change all the time, and the
// tables that our own parts rewrite.
func (m message) touchesRules() bool {
	if m.kind>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return false
	}
	// The first attribute of each of these messages is the table's name.
	const nfgenmsg, tableAttribute = 4, 1
	name := strings.TrimRight(string(m.attribute(nfgenmsg, tableAttribute)), "\x00")
	switch m.kind & 0xff {
	case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE:
		return name == tableName || !isOwnTable(name)
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWRULE:
		return !isOwnTable(name)
	default:
		return false
	}
}
