package registries

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mirror = "[host.\"https://127.0.0.1:1\"]\n  capabilities = [\"pull\"]\n"

// write makes files below a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDeriveKeepsWhatTheUserSays(t *testing.T) {
	for name, test := range map[string]struct{ user, want string }{
		"nothing":           {"", mirror},
		"keys alone":        {"server = \"http://a:5000\"", "server = \"http://a:5000\"\n" + mirror},
		"a mirror":          {"[host.\"https://m\"]\n", mirror + "[host.\"https://m\"]\n"},
		"keys and a mirror": {"ca = \"ca.crt\"\n\n[host.\"https://m\"]\n", "ca = \"ca.crt\"\n\n" + mirror + "[host.\"https://m\"]\n"},
		"a list over lines": {
			"client = [\n  [\"a\", \"b\"],\n]\n [host.\"https://m\"]\n",
			"client = [\n  [\"a\", \"b\"],\n]\n" + mirror + " [host.\"https://m\"]\n",
		},
		"a subtable first": {"[host.\"https://m\".header]\nx = \"y\"\n", mirror + "[host.\"https://m\".header]\nx = \"y\"\n"},
		"comments":         {"# mine\n# [host.\"x\"]\n[host.\"https://m\"]\n", "# mine\n# [host.\"x\"]\n" + mirror + "[host.\"https://m\"]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Host{toml: []byte(test.user)}.Derive(mirror)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestReadDockersFiles(t *testing.T) {
	root := write(t, map[string]string{
		"private:5000/ca.crt": "", "private:5000/client.cert": "", "private:5000/client.key": "", "private:5000/both.cert": "",
		"a file": "",
	})
	hosts, problems := Read(root)
	if len(hosts) != 1 || len(problems) > 0 {
		t.Fatalf("%v, %v", hosts, problems)
	}
	got, err := hosts[0].Derive(mirror)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "private:5000") + "/"
	want := `ca = ["` + dir + `ca.crt"]` + "\n" + `client = ["` + dir + `both.cert", ["` + dir + `client.cert", "` + dir + `client.key"]]` + "\n" + mirror
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if hosts[0].Insecure || hosts[0].Name != "private:5000" || len(hosts[0].Files) != 4 {
		t.Errorf("%+v", hosts[0])
	}
}

func TestInsecureNames(t *testing.T) {
	root := write(t, map[string]string{
		"plain:5000/hosts.toml":      "server = \"http://plain:5000\"\n",
		"unchecked_5001_/hosts.toml": "server = \"https://unchecked:5001\"\nskip_verify = true\n",
		"mirrored/hosts.toml":        "[host.\"http://mirror\"]\nskip_verify = true\n",
		"checked/hosts.toml":         "skip_verify = false\n",
		"_default/hosts.toml":        "skip_verify = true\n",
	})
	hosts, problems := Read(root)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff([]string{"plain:5000", "unchecked:5001"}, InsecureNames(hosts)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProblemsNameTheFileAndTheKey(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"no TOML":             {"server = \n", "line 1"},
		"a capability":        {"[host.\"https://m\"]\ncapabilities = [\"pul\"]\n", `no "pul"`},
		"a number for a file": {"ca = 5\n", "ca: 5 is neither"},
		"half a pair":         {"client = [[\"a\"]]\n", "client: [a] is no pair"},
		"a time":              {"dial_timeout = \"5\"\n", "dial_timeout"},
		"a header":            {"[header]\nx = 5\n", "header x"},
		"no such file":        {"ca = \"gone.crt\"\n", "gone.crt: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			root := write(t, map[string]string{"bad/hosts.toml": test.content, "good/hosts.toml": "server = \"https://good\"\n"})
			hosts, problems := Read(root)
			if len(hosts) != 2 || len(problems) != 1 {
				t.Fatalf("%v, %v", hosts, problems)
			}
			if text := problems[0].Error(); !strings.HasPrefix(text, filepath.Join(root, "bad/hosts.toml")+": ") || !strings.Contains(text, test.want) {
				t.Errorf("no %q in: %s", test.want, text)
			}
			for _, h := range hosts {
				if _, err := h.Derive(mirror); err != nil {
					t.Errorf("%s: %v", h.Entry, err)
				}
			}
		})
	}
}

func TestNoDirectoryIsNoProblem(t *testing.T) {
	if hosts, problems := Read(filepath.Join(t.TempDir(), "none")); len(hosts) > 0 || len(problems) > 0 {
		t.Errorf("%v, %v", hosts, problems)
	}
}
