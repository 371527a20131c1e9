package nft

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// generationTime is how long, in seconds, the kernel may take to answer.
const generationTime = 2

// OpenNetlink opens a socket of nf_tables. To close the last of its files waits as the end of nft does: that is for the
// keeper.
func OpenNetlink() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: generationTime}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "nf_tables"), nil
}

// generation is a number that every transaction of nf_tables changes, in this network namespace (the kernel's
// nf_tables_getgen).
func (s *Session) generation() (uint32, error) {
	fd := int(s.Netlink.Fd())
	const header, family = unix.SizeofNlMsghdr, 4 // struct nfgenmsg, all of it zero
	request := make([]byte, header+family)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, err
	}
	const attribute = 4 // struct nlattr before its value, here 32 bits
	if n < header+family+attribute+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN ||
		binary.NativeEndian.Uint16(answer[header+family+2:]) != unix.NFTA_GEN_ID {
		return 0, errors.New("nf_tables does not tell its generation")
	}
	return binary.BigEndian.Uint32(answer[header+family+attribute:]), nil
}
