package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure"`
	Skipped   *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes a run as JUnit XML. A spec that has not run yet is skipped, and its message says so.
func WriteJUnit(w io.Writer, r Run) error {
	suite := junitSuite{Name: r.Suite, Tests: len(r.Cases), Timestamp: r.Date}
	suite.Properties = []junitProperty{{"commit", r.Commit}, {"run", fmt.Sprint(r.Number)}}
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		suite.Properties = append(suite.Properties, junitProperty{name, r.Versions[name]})
	}
	total := 0.0
	for _, c := range r.Cases {
		total += c.Seconds
		out := junitCase{Name: c.Name, ClassName: (spec.Spec{Name: c.Name}).SIG(), Time: fmt.Sprintf("%.1f", c.Seconds)}
		switch c.State {
		case spec.Passed:
		case spec.Failed:
			suite.Failures++
			out.Failure = &junitMessage{c.Message}
		case spec.Skipped:
			suite.Skipped++
			out.Skipped = &junitMessage{c.Message}
		default:
			suite.Skipped++
			out.Skipped = &junitMessage{notRun}
		}
		suite.Cases = append(suite.Cases, out)
	}
	suite.Time = fmt.Sprintf("%.1f", total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "\t")
	if err := encoder.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

const notRun = "has not run yet"

// Seconds reads how long each spec took from a JUnit file.
func Seconds(r io.Reader) (map[string]float64, error) {
	var suites junitSuites
	if err := xml.NewDecoder(r).Decode(&suites); err != nil {
		return nil, fmt.Errorf("read JUnit: %w", err)
	}
	seconds := map[string]float64{}
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			var value float64
			if _, err := fmt.Sscanf(c.Time, "%f", &value); err != nil {
				return nil, fmt.Errorf("read JUnit: time of %q: %w", c.Name, err)
			}
			seconds[c.Name] = value
		}
	}
	return seconds, nil
}

// printable keeps a message short, and free of what XML cannot say.
func printable(message string) string {
	const limit = 2000
	message = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == utf8.RuneError {
			return -1
		}
		return r
	}, message)
	if len(message) > limit {
		message = strings.ToValidUTF8(message[:limit], "") + " [...]"
	}
	return message
}
