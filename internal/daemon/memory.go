package daemon

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// anonymousMemory is the part of a process's memory that no file backs, in bytes: what the
// process costs. It is 0 for a process that has ended.
func anonymousMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return rssAnon(data)
}

// rssAnon reads the line "RssAnon:	   12345 kB" of proc_pid_status(5).
func rssAnon(status []byte) int64 {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 2 || string(fields[0]) != "RssAnon:" {
			continue
		}
		kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return 0
		}
		return kib * 1024
	}
	return 0
}
