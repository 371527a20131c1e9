package host

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"
)

// Listener is a socket that others can reach.
type Listener struct {
	Network string // "tcp" or "udp"
	Address netip.AddrPort
	Owner   Process // zero until it was looked up, or where nobody could be found

	inode string
}

// The states of /proc/net/tcp and udp in which a socket waits for somebody.
const (
	stateListen      = "0A" // TCP_LISTEN
	stateUnconnected = "07" // TCP_CLOSE, which a UDP socket without a peer is in
)

func listeners(proc string) ([]Listener, error) {
	var found []Listener
	for _, table := range []struct{ network, file, state string }{
		{"tcp", "net/tcp", stateListen},
		{"tcp", "net/tcp6", stateListen},
		{"udp", "net/udp", stateUnconnected},
		{"udp", "net/udp6", stateUnconnected},
	} {
		data, err := os.ReadFile(filepath.Join(proc, table.file))
		if os.IsNotExist(err) {
			continue // no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("list sockets: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			columns := strings.Fields(line)
			if len(columns) < 10 || columns[3] != table.state {
				continue
			}
			if address, ok := parseSocketAddress(columns[1]); ok {
				found = append(found, Listener{Network: table.network, Address: address, inode: columns[9]})
			}
		}
	}
	return found, nil
}

// parseSocketAddress reads "0100007F:192B": words of four bytes in the machine's
// order, then the port.
func parseSocketAddress(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if !ok || err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	if !cpu.IsBigEndian {
		for i := 0; i < len(raw); i += 4 {
			raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
		}
	}
	address, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), true
}

// findOwners fills in who has these sockets open. It reads every process's open
// files, so it is done only for sockets that are in the way.
func findOwners(proc string, list []Listener) {
	wanted := map[string][]*Listener{}
	for i := range list {
		if list[i].Owner.PID == 0 && list[i].inode != "" {
			link := "socket:[" + list[i].inode + "]"
			wanted[link] = append(wanted[link], &list[i])
		}
	}
	if len(wanted) == 0 {
		return
	}
	for _, pid := range pids(proc) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		entries, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue // it has ended, or is not ours to see
		}
		for _, e := range entries {
			link, err := os.Readlink(filepath.Join(dir, "fd", e.Name()))
			if err != nil {
				continue
			}
			for _, l := range wanted[link] {
				// A socket that was inherited has several; the lowest pid is most likely the parent's.
				if l.Owner.PID == 0 || pid < l.Owner.PID {
					l.Owner = Process{PID: pid, Name: readFile(dir, "comm")}
				}
			}
		}
	}
}

// Holders are the sockets that keep others from listening on this TCP port of any of the addresses,
// with who has them open.
func Holders(port int, addresses ...netip.Addr) ([]Listener, error) {
	all, err := listeners("/proc")
	if err != nil {
		return nil, err
	}
	holders := slices.DeleteFunc(all, func(l Listener) bool { return !l.blocks("tcp", port, addresses) })
	findOwners("/proc", holders)
	return holders, nil
}

// LoopbackHolder names who keeps others from listening on this TCP port of loopback, for people: "nginx (pid 812)".
// That it cannot be found out is no error of its own.
func LoopbackHolder(port int) string {
	holders, _ := Holders(port, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	for _, l := range holders {
		if l.Owner.PID != 0 {
			return l.Owner.String()
		}
	}
	return unknownOwner
}

func (l Listener) blocks(network string, port int, wanted []netip.Addr) bool {
	if l.Network != network || int(l.Address.Port()) != port {
		return false
	}
	if l.Address.Addr().IsUnspecified() {
		return true
	}
	for _, a := range wanted {
		if a == l.Address.Addr() {
			return true
		}
	}
	return false
}
