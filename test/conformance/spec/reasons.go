package spec

import (
	"bufio"
	"os"
	"strings"
)

// ReadReasons reads the names of specs, each with the reason that stands above it as a comment.
func ReadReasons(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	reasons := map[string]string{}
	reason := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			reason = strings.TrimSpace(comment)
		} else if line != "" {
			reasons[line] = reason
		}
	}
	return reasons, nil
}
