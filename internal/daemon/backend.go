package daemon

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/internal/component/cluster"
	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/disk"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/registry"
	"github.com/boxyard/boxyard/internal/supervisor"
	"github.com/boxyard/boxyard/internal/version"
)

// Status implements controlapi.Backend.
func (d *daemon) Status(context.Context) controlapi.Status {
	d.mu.Lock()
	phase, m, sup := d.phase, d.machine, d.sup
	d.mu.Unlock()
	s := controlapi.Status{
		Phase: phase, PID: os.Getpid(), Version: version.Version, Since: d.began,
		MemoryBytes: anonymousMemory(os.Getpid()), Components: []controlapi.ComponentStatus{},
	}
	if sup == nil {
		return s
	}
	if m.has("cluster") {
		s.NodeIP, s.APIPort = m.ranges.nodes[0].Addr().String(), m.config.APIPort
	}
	if m.frontDoor != nil {
		s.FrontDoorPort = m.frontDoor.Port()
	}
	s.Ready = phase == controlapi.PhaseRunning
	for _, p := range sup.Status() {
		if m.idle(p.Name) && p.State == supervisor.Ready {
			continue
		}
		s.Ready = s.Ready && p.State == supervisor.Ready
		c := controlapi.ComponentStatus{
			Name: p.Name, State: string(p.State), Since: p.Since, PID: p.PID, Version: p.Version,
			WaitingFor: p.WaitingFor, Restarts: p.Restarts, LastError: p.LastError, Warning: p.Warning,
		}
		if p.PID != 0 {
			c.MemoryBytes = anonymousMemory(p.PID)
		}
		s.Components = append(s.Components, c)
	}
	return s
}

// Events implements controlapi.Backend.
func (d *daemon) Events(ctx context.Context) <-chan controlapi.Event { return d.events.follow(ctx) }

// Versions implements controlapi.Backend.
func (d *daemon) Versions() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]string{}
	if d.machine != nil {
		maps.Copy(all, d.machine.versions)
	}
	all["boxyard"] = version.Version
	return all
}

// Disk implements controlapi.Backend.
func (d *daemon) Disk(ctx context.Context) (disk.Report, error) {
	d.mu.Lock()
	phase, m := d.phase, d.machine
	d.mu.Unlock()
	if phase != controlapi.PhaseRunning {
		return disk.Report{}, &fault.Error{Code: phase, Summary: "Boxyard is " + phase, Hint: "boxyard status"}
	}
	wanted, err := m.wantedImages()
	if err != nil {
		return disk.Report{}, err
	}
	r, err := disk.Measure(ctx, disk.Options{
		Layout: m.layout, Docker: m.has("docker"), Cluster: m.has("cluster"),
		KubeletDir: cluster.KubeletDir, PodLogDir: "/var/log/pods", VolumesDir: m.config.Storage.Path, Wanted: wanted,
		LimitPercent: m.config.Disk.LimitPercent,
	})
	if err != nil {
		return r, &fault.Error{
			Code: "no-disk-report", Summary: "what uses the disk cannot be said now", Hint: "boxyard status says which part does not answer",
			Cause: err,
		}
	}
	return r, nil
}

// Registry implements controlapi.Backend.
func (d *daemon) Registry(ctx context.Context, change registry.Change) (registry.State, error) {
	d.mu.Lock()
	phase, m := d.phase, d.machine
	d.mu.Unlock()
	if phase != controlapi.PhaseRunning {
		return registry.State{}, &fault.Error{Code: phase, Summary: "Boxyard is " + phase, Hint: "boxyard status"}
	}
	if change == (registry.Change{}) {
		return m.registry.State()
	}
	return m.registry.Change(ctx, change)
}

// Down implements controlapi.Backend. What was asked for happens also when ctx, the client's, ends.
func (d *daemon) Down(ctx context.Context, r controlapi.DownRequest) error {
	d.requestStop(r.KeepContainers)
	if d.keepContainers() != r.KeepContainers {
		return &fault.Error{
			Code: "stopping", Summary: "it is stopping already, the other way with containers and pods",
			Hint: "boxyard down, once it has stopped",
		}
	}
	select {
	case <-d.over:
	case <-ctx.Done():
		select {
		case <-d.over: // the end of everything ends ctx too
		default:
			return ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopErr
}

// Restart implements controlapi.Backend.
func (d *daemon) Restart(ctx context.Context, name string) error {
	d.mu.Lock()
	phase, sup := d.phase, d.sup
	d.mu.Unlock()
	if phase != controlapi.PhaseRunning {
		return &fault.Error{Code: phase, Summary: "Boxyard is " + phase, Hint: "boxyard status"}
	}
	var names []string
	for _, p := range sup.Status() {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, name) {
		return &fault.Error{
			Code: "no-component", Summary: fmt.Sprintf("there is no part %q", name),
			Hint: "one of " + strings.Join(names, ", "), Exit: fault.ExitUsage,
		}
	}
	// Once it was taken, the restart goes on without the client.
	return sup.Restart(ctx, name)
}
