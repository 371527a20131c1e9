package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// unit is one component and where it stands.
type unit struct {
	Component
	requires   []*unit            // Ready before it starts
	earlier    []*unit            // those, and others that stop after it
	dependents []*unit            // stop before it
	restart    chan chan struct{} // each request carries what is closed when it has been taken
	stopped    chan struct{}      // closed when the supervisor has let go of it

	// Guarded by Supervisor.mu.
	state     State
	since     time.Time
	restarts  int
	lastError string
	unhealthy string // why it is Degraded
}

// newUnits links the components. Their order stays: it is the order of the status rows.
func newUnits(comps []Component) ([]*unit, error) {
	byName := make(map[string]*unit, len(comps))
	units := make([]*unit, 0, len(comps))
	for _, c := range comps {
		if _, found := byName[c.Name()]; found {
			return nil, fmt.Errorf("two components are named %q", c.Name())
		}
		u := &unit{
			Component: c,
			restart:   make(chan chan struct{}),
			stopped:   make(chan struct{}),
			state:     Pending,
			since:     time.Now(),
		}
		byName[c.Name()] = u
		units = append(units, u)
	}
	for _, u := range units {
		if err := u.link(byName); err != nil {
			return nil, err
		}
	}
	return units, acyclic(units)
}

func (u *unit) link(byName map[string]*unit) error {
	required := u.Requires()
	earlier := required
	if p, ok := u.Component.(Predecessor); ok {
		earlier = slices.Concat(required, p.StopsBefore())
	}
	for i, name := range earlier {
		r, found := byName[name]
		if !found {
			return fmt.Errorf("component %s requires %q, which does not exist", u.Name(), name)
		}
		if i < len(required) {
			u.requires = append(u.requires, r)
		}
		u.earlier = append(u.earlier, r)
		r.dependents = append(r.dependents, u)
	}
	return nil
}

func acyclic(units []*unit) error {
	done := make(map[*unit]bool, len(units))
	var visit func(u *unit, path []string) error
	visit = func(u *unit, path []string) error {
		if start := slices.Index(path, u.Name()); start >= 0 {
			return fmt.Errorf("components require each other: %s", strings.Join(append(path[start:], u.Name()), " -> "))
		}
		if done[u] {
			return nil
		}
		path = append(path, u.Name())
		for _, r := range u.earlier {
			if err := visit(r, path); err != nil {
				return err
			}
		}
		done[u] = true
		return nil
	}
	for _, u := range units {
		if err := visit(u, nil); err != nil {
			return err
		}
	}
	return nil
}
