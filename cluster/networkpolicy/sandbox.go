package networkpolicy

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// resultsDir is where libcni keeps what the plugins have answered, one file for each sandbox
// (containernetworking/cni, libcni/api.go).
const resultsDir = "/var/lib/cni/results"

// sandboxes follows the addresses that the CNI plugins give to pods. They are there some hundred
// milliseconds before the first container of a pod starts, and a second or more before the kubelet reports them:
// by then a container could have sent what a policy forbids.
type sandboxes struct {
	dir     string
	changed func()

	mu    sync.Mutex
	files map[string]sandbox // by name
}

type sandbox struct {
	pod       types.UID
	addresses []netip.Addr
}

// follow reads the directory and watches it until ctx is done.
func (s *sandboxes) follow(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("watch the addresses of pods: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch the addresses of pods: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, s.dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		_ = events.Close()
		return fmt.Errorf("watch %s: %w", s.dir, err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		_ = events.Close()
		return fmt.Errorf("read the addresses of pods: %w", err)
	}
	for _, entry := range entries {
		s.read(entry.Name())
	}
	context.AfterFunc(ctx, func() { _ = events.Close() })
	go s.receive(events)
	return nil
}

func (s *sandboxes) receive(events *os.File) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := events.Read(buffer)
		if err != nil {
			return // closed
		}
		for _, name := range eventNames(buffer[:n]) {
			s.read(name)
		}
		s.changed()
	}
}

// eventNames are the files that inotify tells of.
func eventNames(data []byte) []string {
	var names []string
	for len(data) >= unix.SizeofInotifyEvent {
		// struct inotify_event: wd, mask, cookie, len, name.
		size := int(binary.NativeEndian.Uint32(data[12:]))
		end := min(unix.SizeofInotifyEvent+size, len(data))
		if name := strings.TrimRight(string(data[unix.SizeofInotifyEvent:end]), "\x00"); name != "" {
			names = append(names, name)
		}
		data = data[end:]
	}
	return names
}

// read takes a file over, or forgets it when it is gone.
func (s *sandboxes) read(name string) {
	found, ok := readSandbox(filepath.Join(s.dir, name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		delete(s.files, name)
		return
	}
	if s.files == nil {
		s.files = map[string]sandbox{}
	}
	s.files[name] = found
}

// addresses are those of each pod.
func (s *sandboxes) addresses() map[types.UID][]netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[types.UID][]netip.Addr, len(s.files))
	for _, f := range s.files {
		all[f.pod] = append(all[f.pod], f.addresses...)
	}
	return all
}

// readSandbox tells nothing of a file that is not about a pod: the kubelet's report counts then.
func readSandbox(file string) (sandbox, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return sandbox{}, false
	}
	var result struct {
		Args   [][2]string `json:"cniArgs"`
		Result struct {
			IPs []struct {
				Address string `json:"address"`
			} `json:"ips"`
		} `json:"result"`
	}
	if json.Unmarshal(data, &result) != nil {
		return sandbox{}, false
	}
	var s sandbox
	for _, arg := range result.Args {
		if arg[0] == "K8S_POD_UID" {
			s.pod = types.UID(arg[1])
		}
	}
	for _, ip := range result.Result.IPs {
		prefix, err := netip.ParsePrefix(ip.Address)
		if err == nil && !prefix.Addr().IsLoopback() { // every pod's lo is a network too
			s.addresses = append(s.addresses, prefix.Addr())
		}
	}
	return s, s.pod != "" && len(s.addresses) > 0
}
