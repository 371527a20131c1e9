package supervisor

import (
	"fmt"
	"strings"
)

// Status is a snapshot, in the order in which the components were given.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	rows := make([]Status, len(s.units))
	unhealthy := make([]string, len(s.units))
	for i, u := range s.units {
		rows[i] = Status{Name: u.Name(), State: u.state, Since: u.since, Restarts: u.restarts, LastError: u.lastError}
		unhealthy[i] = u.unhealthy
	}
	s.mu.Unlock()

	// Components are asked without the lock: they may hold one of their own while they call ready.
	byName := make(map[string]Status, len(rows))
	for _, row := range rows {
		byName[row.Name] = row
	}
	for i, u := range s.units {
		if p, ok := u.Component.(Processor); ok {
			rows[i].PID, rows[i].Version = p.PID(), p.Version()
		}
		if w, ok := u.Component.(Warner); ok && rows[i].State == Ready {
			rows[i].Warning = w.Warning()
		}
		switch rows[i].State {
		case Waiting:
			rows[i].WaitingFor = unmet(u, byName)
		case Preparing, Starting:
			rows[i].WaitingFor = describe(u)
		case Degraded:
			rows[i].WaitingFor = unhealthy[i]
		}
	}
	return rows
}

// unmet names the requirements that are not Ready and what is known about why.
func unmet(u *unit, byName map[string]Status) string {
	var names []string
	for _, r := range u.requires {
		row := byName[r.Name()]
		if row.State == Ready {
			continue
		}
		why := ""
		switch row.State {
		case Preparing, Starting:
			why = describe(r)
		case Backoff, Failed:
			why, _, _ = strings.Cut(row.LastError, "\n")
		}
		if why != "" {
			why = fmt.Sprintf(" (%s)", why)
		}
		names = append(names, r.Name()+why)
	}
	return strings.Join(names, ", ")
}

func describe(u *unit) string {
	d, ok := u.Component.(Describer)
	if !ok {
		return ""
	}
	return d.WaitingFor()
}
