// Package follow tells when a file has become another one.
package follow

import (
	"context"
	"os"
	"time"
)

const interval = time.Second

// Stamp tells one version of a file from another. It follows links, which /etc/resolv.conf often is.
type Stamp struct {
	modified time.Time
	size     int64
	exists   bool
}

// Look returns the stamp of the file as it is now.
func Look(file string) Stamp {
	info, err := os.Stat(file)
	if err != nil {
		return Stamp{}
	}
	return Stamp{modified: info.ModTime(), size: info.Size(), exists: true}
}

// File calls changed whenever the file is another one than at last, until ctx is done. It looks once a second:
// such a file is written in place, replaced or reached through links that change, depending on who manages it.
func File(ctx context.Context, file string, last Stamp, changed func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := Look(file); now != last {
			last = now
			changed()
		}
	}
}
