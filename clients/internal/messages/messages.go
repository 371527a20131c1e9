// Package messages is imported for its effect: kubectl's messages are translated only for who speaks another language
// than English. Upstream reads its catalogue whenever a message is made, which is while packages are initialised, in
// every client that this program holds; the English catalogue says what the messages say anyway.
//
// It comes before those packages that make messages, since Go initialises packages in the order of their paths,
// dependencies first, and k8s.io comes late.
package messages

import (
	"os"
	"strings"

	"k8s.io/kubectl/pkg/util/i18n"
)

var _ = leaveOut()

// leaveOut gives an error where the messages have been loaded already, which costs time and changes nothing else.
func leaveOut() error {
	if !english(os.Getenv) {
		return nil
	}
	return i18n.SetLoadTranslationsFunc(func() error { return nil })
}

// english says whether the environment asks for English, or for no language. The variables and their order are those of
// i18n.LoadTranslations.
func english(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if language := getenv(name); language != "" {
			language, _, _ = strings.Cut(language, ".")
			return language == "C" || language == "POSIX" || language == "en" || strings.HasPrefix(language, "en_")
		}
	}
	return true
}
