package names

import "github.com/moby/moby/api/types/events"

// news is what dockerd's events have said and nobody has looked at.
type news struct {
	containers bool            // all of them
	ids        map[string]bool // of these containers
	networks   bool
}

func (n *news) none() bool { return !n.containers && !n.networks && len(n.ids) == 0 }

func (n *news) add(e events.Message) {
	id := e.Actor.ID
	switch {
	case e.Type == events.NetworkEventType && (e.Action == events.ActionConnect || e.Action == events.ActionDisconnect):
		id = e.Actor.Attributes["container"]
	case e.Type == events.NetworkEventType:
		n.networks = true
		return
	case e.Action == events.ActionCreate:
		return // what does not run has no address
	}
	if n.ids == nil {
		n.ids = map[string]bool{}
	}
	n.ids[id] = true
}
