package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what all processes of an instance together use.
type Usage struct {
	AnonBytes int64   // anonymous memory
	CPU       float64 // of one core: 0.04 is 4 %
	Processes int
}

// Usage measures over the given time.
func (in *Instance) Usage(ctx context.Context, over time.Duration) (Usage, error) {
	before, err := in.ticks()
	if err != nil {
		return Usage{}, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return Usage{}, ctx.Err()
	case <-time.After(over):
	}
	after, err := in.ticks()
	if err != nil {
		return Usage{}, err
	}
	usage := Usage{Processes: len(after)}
	var spent int64
	for pid, ticks := range after {
		spent += ticks - before[pid] // a process that is new has spent all of it meanwhile
		usage.AnonBytes += anonBytes(pid)
	}
	const ticksPerSecond = 100 // USER_HZ, on every Linux architecture that Go knows
	usage.CPU = float64(spent) / ticksPerSecond / time.Since(start).Seconds()
	return usage, nil
}

// AnonBytes is the anonymous memory of those processes that match.
func (in *Instance) AnonBytes(match func(Process) bool) (int64, error) {
	processes, err := in.Processes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range processes {
		if match(p) {
			sum += anonBytes(p.PID)
		}
	}
	return sum, nil
}

// ticks returns the CPU time of each process.
func (in *Instance) ticks() (map[int]int64, error) {
	processes, err := in.Processes()
	if err != nil {
		return nil, err
	}
	all := make(map[int]int64)
	for _, p := range processes {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if err != nil {
			continue // ended meanwhile
		}
		// The name in parentheses may contain anything, so fields are counted after it.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		user, err1 := strconv.ParseInt(fields[11], 10, 64)
		system, err2 := strconv.ParseInt(fields[12], 10, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("harness: unexpected /proc/%d/stat", p.PID)
		}
		all[p.PID] = user + system
	}
	return all, nil
}

func anonBytes(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// Lookup asks the instance's name server, as pods do but at its own address.
func (in *Instance) Lookup(ctx context.Context, name string) ([]string, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return in.Dial(ctx, network, "10.42.0.1:10053")
	}}
	return resolver.LookupHost(ctx, name)
}
