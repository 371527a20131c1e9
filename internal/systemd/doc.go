// Package systemd writes Boxyard's unit and talks to systemd through
// systemctl and systemd-run. It imports nothing of Boxyard but fault.
package systemd
