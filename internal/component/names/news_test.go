package names

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/events"
)

func TestNews(t *testing.T) {
	var n news
	if !n.none() {
		t.Error("there is news before there was any")
	}
	of := func(kind events.Type, action events.Action, id string) events.Message {
		m := events.Message{Type: kind, Action: action, Actor: events.Actor{ID: id}}
		if kind == events.NetworkEventType {
			m.Actor.Attributes = map[string]string{"container": "c-of-" + id}
		}
		return m
	}
	n.add(of(events.ContainerEventType, events.ActionCreate, "made"))
	if !n.none() {
		t.Error("a container that was made and does not run is news")
	}
	n.add(of(events.ContainerEventType, events.ActionStart, "a"))
	n.add(of(events.ContainerEventType, events.ActionDestroy, "b"))
	n.add(of(events.NetworkEventType, events.ActionConnect, "n"))
	if d := cmp.Diff([]string{"a", "b", "c-of-n"}, slices.Sorted(maps.Keys(n.ids))); d != "" {
		t.Errorf("containers (-want +got):\n%s", d)
	}
	if n.networks {
		t.Error("a container that joins a network changes no network")
	}
	n.add(of(events.NetworkEventType, events.ActionCreate, "n2"))
	if !n.networks {
		t.Error("a new network is no news")
	}
}
