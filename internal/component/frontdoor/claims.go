package frontdoor

import "sync"

// claims are the containers that publish the front door's port. What a user publishes on purpose goes
// before a default of ours.
type claims struct {
	mu      sync.Mutex
	by      map[string]string // name by ID
	changed chan struct{}     // closed and replaced at each change
}

func newClaims() *claims { return &claims{by: map[string]string{}, changed: make(chan struct{})} }

// look gives the container that has the port, "" for none, and what is closed at the next change.
func (c *claims) look() (by string, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.by {
		if by == "" || name < by {
			by = name
		}
	}
	return by, c.changed
}

func (c *claims) replace(by map[string]string) { c.change(func() { c.by = by }) }

func (c *claims) add(id, name string) { c.change(func() { c.by[id] = name }) }

func (c *claims) remove(id string) { c.change(func() { delete(c.by, id) }) }

func (c *claims) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}
