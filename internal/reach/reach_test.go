package reach

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThroughDoor(t *testing.T) {
	for port, want := range map[int]Way{
		80:   {Kind: FrontDoor, URL: "http://web.default.localhost", Address: "127.0.0.1:80", Host: "web.default.localhost"},
		8000: {Kind: FrontDoor, URL: "http://web.default.localhost:8000", Address: "127.0.0.1:8000", Host: "web.default.localhost:8000"},
	} {
		if diff := cmp.Diff(want, ThroughDoor("web.default", port)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestURLsAreUniqueAndInOrder(t *testing.T) {
	ways := []Way{{URL: "b"}, {URL: "a"}, {URL: "b"}}
	if diff := cmp.Diff([]string{"b", "a"}, URLs(ways)); diff != "" {
		t.Error(diff)
	}
	if URLs(nil) == nil {
		t.Error("no ways are null in JSON")
	}
}
