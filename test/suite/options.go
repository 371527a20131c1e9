package suite

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// Options are what a person may choose.
type Options struct {
	Focus *regexp.Regexp // of names
	// Part says that the part which `make test` has is to be run, all of it anew, and no document written.
	Part   bool
	Again  bool // run those again that failed
	Fresh  bool // forget what there is so far
	Report bool // run nothing, write the document only
}

// Parse reads the arguments of a program. part is what its flag for the part is called, and about what that runs.
func Parse(program, part, about string, args []string) (Options, error) {
	var opts Options
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	focus := flags.String("focus", "", "a regular expression: run only tests whose names match")
	flags.BoolVar(&opts.Part, part, false, "run only "+about+", all of them anew, and write no document")
	flags.BoolVar(&opts.Again, "again", false, "run those again that failed")
	flags.BoolVar(&opts.Fresh, "fresh", false, "forget what there is so far")
	flags.BoolVar(&opts.Report, "report", false, "run nothing, write the document only")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	var err error
	if opts.Focus, err = regexp.Compile(*focus); err != nil {
		return opts, fmt.Errorf("-focus: %w", err)
	}
	return opts, nil
}

// OpenRecord opens the record of results in dir: record.json, and for the part one called after it.
func (o Options) OpenRecord(dir, part string) (*spec.Record, error) {
	file := filepath.Join(dir, "record.json")
	if o.Part {
		file = filepath.Join(dir, part+".json")
	}
	if o.Fresh || o.Part {
		if err := os.RemoveAll(file); err != nil {
			return nil, err
		}
	}
	return spec.OpenRecord(file)
}
