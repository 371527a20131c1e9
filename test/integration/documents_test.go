//go:build integration

package integration

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/boxyard/boxyard/test/harness"
)

// documents runs every command of the user's documents as it is written there: what is fenced as sh,
// and what follows a prompt in a transcript.
func documents(b box) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, document := range []struct{ file, dir string }{
		{"README.md", repo},
		{"docs/tour.md", b.t.TempDir()},
		{"docs/kubernetes.md", repo},
		{"docs/docker.md", repo},
		{"examples/hello/README.md", filepath.Join(repo, "examples", "hello")},
	} {
		script := commandsOf(b, filepath.Join(repo, document.file))
		if script == "" {
			b.t.Errorf("%s has no commands: the test looks for the wrong thing", document.file)
			continue
		}
		result, err := b.Exec(b.t.Context(), harness.Command{
			Name: "bash", Args: []string{"-euxo", "pipefail", "-c", script}, Dir: document.dir,
			Env: []string{"PATH=" + filepath.Dir(b.Binary) + ":/var/lib/boxyard/bin:" + os.Getenv("PATH")},
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if result.Code != 0 {
			lines := strings.Split(strings.TrimSpace(result.Output()), "\n")
			b.t.Errorf("%s: exit code %d after:\n%s", document.file, result.Code, strings.Join(lines[max(0, len(lines)-25):], "\n"))
		}
	}
}

// commandsOf is the script of a document. The platform runs already, as root: sudo is left out.
func commandsOf(b box, file string) string {
	b.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	var script strings.Builder
	fence := ""
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "```") {
			if fence == "" {
				fence = line
			} else {
				fence = ""
			}
			continue
		}
		command, prompted := strings.CutPrefix(line, "$ ")
		switch {
		case fence == "```sh":
			script.WriteString(line + "\n")
		case fence != "" && prompted:
			script.WriteString(strings.TrimPrefix(command, "sudo ") + "\n")
		}
	}
	return script.String()
}
