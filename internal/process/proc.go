package process

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stat is what /proc/PID/stat says that is of use here.
type stat struct {
	dead      bool   // a zombie, or less
	session   int    // pid of the session's leader
	startTime uint64 // in clock ticks since boot
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The second field is the command in parentheses, and may hold blanks and parentheses itself.
	_, rest, found := strings.Cut(string(data[max(bytes.LastIndexByte(data, ')'), 0):]), ") ")
	fields := strings.Fields(rest) // from field 3 on
	if !found || len(fields) < 20 {
		return stat{}, fmt.Errorf("read %s: unknown form", procFile(pid, "stat"))
	}
	session, err := strconv.Atoi(fields[6-3])
	if err != nil {
		return stat{}, fmt.Errorf("read %s: session: %w", procFile(pid, "stat"), err)
	}
	start, err := strconv.ParseUint(fields[22-3], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read %s: start time: %w", procFile(pid, "stat"), err)
	}
	return stat{dead: strings.Contains("ZXx", fields[0]), session: session, startTime: start}, nil
}

// AnonymousMemory returns the bytes of memory that belong to the process alone and could not be
// dropped and read again from a file.
func AnonymousMemory(pid int) (int64, error) {
	data, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		value, found := strings.CutPrefix(line, "RssAnon:")
		if !found {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", procFile(pid, "status"), err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("read %s: no RssAnon, the process has ended", procFile(pid, "status"))
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// hashArgs is the fingerprint of an argument list, argv[0] included.
func hashArgs(argv []string) string {
	sum := sha256.Sum256([]byte(strings.Join(argv, "\x00")))
	return hex.EncodeToString(sum[:])
}

func hashCmdline(pid int) (string, error) {
	data, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil {
		return "", err
	}
	return hashArgs(strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")), nil
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
