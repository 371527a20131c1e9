package networkpolicy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// nfnlgrpNftables is NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h.
const nfnlgrpNftables = 7

// watchTables calls lost when our table may have been deleted, until ctx is done. A firewall that is loaded anew often
// begins with `flush ruleset`.
func watchTables(ctx context.Context, lost func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("watch nft tables: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, nfnlgrpNftables)
	}
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("watch nft tables: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	context.AfterFunc(ctx, func() { _ = socket.Close() })
	go receiveTables(socket, lost)
	return nil
}

func receiveTables(socket *os.File, lost func()) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := socket.Read(buffer)
		switch {
		case errors.Is(err, unix.ENOBUFS): // the kernel had to leave events out
			lost()
		case err != nil:
			return // closed
		case deletesTable(buffer[:n]):
			lost()
		}
	}
}

// deletesTable looks for a message that says that our table is deleted.
func deletesTable(data []byte) bool {
	const nfgenmsg, attribute = 4, unix.SizeofRtAttr
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return false
		}
		kind := binary.NativeEndian.Uint16(data[4:])
		body := data[unix.SizeofNlMsghdr:size]
		// The first attribute is the table's name.
		if kind == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE && len(body) > nfgenmsg+attribute {
			length := int(binary.NativeEndian.Uint16(body[nfgenmsg:]))
			name := body[nfgenmsg+attribute : max(nfgenmsg+attribute, min(nfgenmsg+length, len(body)))]
			if strings.TrimRight(string(name), "\x00") == tableName {
				return true
			}
		}
		data = data[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(data)):]
	}
	return false
}
