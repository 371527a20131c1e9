package messages

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chai2010/gettext-go/po"
)

func TestEnglish(t *testing.T) {
	for _, test := range []struct {
		environment map[string]string
		want        bool
	}{
		{nil, true},
		{map[string]string{"LANG": "C.UTF-8"}, true},
		{map[string]string{"LANG": "C"}, true},
		{map[string]string{"LANG": "en_GB.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.UTF-8"}, false},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "ja_JP.UTF-8"}, false},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_MESSAGES": "C.UTF-8"}, true},
	} {
		if got := english(func(name string) string { return test.environment[name] }); got != test.want {
			t.Errorf("english(%v) = %v, want %v", test.environment, got, test.want)
		}
	}
}

// The English catalogue may be left out as long as it translates nothing.
func TestCatalogueOfEnglish(t *testing.T) {
	directory, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubectl").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []string{"default", "en_US"} {
		catalogue, err := po.LoadFile(filepath.Join(strings.TrimSpace(string(directory)), "pkg/util/i18n/translations/kubectl", language, "LC_MESSAGES/k8s.po"))
		if err != nil {
			t.Fatal(err)
		}
		if len(catalogue.Messages) < 100 {
			t.Errorf("the catalogue of %s has %d messages: another format?", language, len(catalogue.Messages))
		}
		for _, message := range catalogue.Messages {
			if message.MsgIdPlural == "" && message.MsgStr != message.MsgId {
				t.Errorf("the catalogue of %s has %q for %q", language, message.MsgStr, message.MsgId)
			}
		}
	}
}
