package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/internal/fault"
)

const hash = "$2y$05$abcdefghijklmnopqrstuuKHMmwhzqzrHmbdQ0HFM9ZZGWjEBhCWi"

func TestCheck(t *testing.T) {
	port, none := 70000, ""
	file := func(text string) *string { return &text }
	for name, test := range map[string]struct {
		change Change
		want   string // "": nothing is wrong
	}{
		"nothing":            {Change{}, ""},
		"a port":             {Change{Port: &port}, "70000"},
		"no password":        {Change{Htpasswd: &none}, ""},
		"a user":             {Change{Htpasswd: file("# mine\n\nann:" + hash + "\n")}, ""},
		"MD5":                {Change{Htpasswd: file("ann:" + hash + "\nbob:$apr1$x$y\n")}, "line 2"},
		"no user":            {Change{Htpasswd: file("# nobody\n")}, "no user"},
		"Docker Hub":         {Change{AddCache: &Cache{Registry: "docker.io"}}, ""},
		"a path":             {Change{AddCache: &Cache{Registry: "docker.io/library"}}, "is no registry"},
		"a way out":          {Change{AddCache: &Cache{Registry: "../x"}}, "is no registry"},
		"half":               {Change{AddCache: &Cache{Registry: "ghcr.io", Username: "a"}}, "goes with a password"},
		"in the open":        {Change{AddCache: &Cache{Registry: "r:5000", URL: "http://r:5000", Username: "a", Password: "b"}}, "everyone to read"},
		"no address":         {Change{AddCache: &Cache{Registry: "ghcr.io", URL: "ftp://x"}}, "is no address"},
		"a small cache":      {Change{AddCache: &Cache{Registry: "ghcr.io", MaxBytes: 5}}, "100 MB"},
		"an address and all": {Change{AddCache: &Cache{Registry: "r:5000", URL: "https://r:5000/", MaxBytes: 1e9}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.change.Check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			var f *fault.Error
			if err != nil && (!errors.As(err, &f) || f.Hint == "" || f.Exit != fault.ExitUsage) {
				t.Errorf("%+v is no fault of usage with a hint", err)
			}
		})
	}
}

func TestUpstream(t *testing.T) {
	for want, c := range map[string]Cache{
		"https://registry-1.docker.io": {Registry: "docker.io"},
		"https://ghcr.io":              {Registry: "ghcr.io"},
		"http://r:5000":                {Registry: "r:5000", URL: "http://r:5000/"},
	} {
		if got := c.Upstream(); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
}
