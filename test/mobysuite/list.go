package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is one package of upstream's integration tests.
type pkg struct {
	name  string // below integration/, such as "network/bridge"
	dir   string // of its source, in which it runs
	tests []test
}

type test struct {
	name string // as the program knows it
	// starts says that it starts a daemon of its own.
	starts bool
}

// isolated says that the daemons which the package's tests start leave alone what Boxyard has on the machine. Others
// remove interfaces, flush firewalls or make swarms on every address.
func (p pkg) isolated() bool {
	return slices.Contains([]string{"build", "config", "container", "daemon", "daemon/nri", "image", "plugin/authz", "secret", "system", "volume"}, p.name)
}

func (p pkg) full(t test) string { return p.name + "/" + t.name }

// program is what scripts/build-moby.sh made of the package.
func (p pkg) program(dir string) string {
	return filepath.Join(dir, "bin", strings.ReplaceAll(p.name, "/", "-")+".test")
}

// list is the suite's own list, from its source: the programs themselves ask for a daemon before they list.
func list(root string) ([]pkg, error) {
	var all []pkg
	err := filepath.WalkDir(root, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		p := pkg{dir: dir}
		if p.name, err = filepath.Rel(root, dir); err != nil {
			return err
		}
		if p.tests, err = testsOf(dir); err != nil {
			return err
		}
		if len(p.tests) > 0 {
			all = append(all, p)
		}
		return nil
	})
	return all, err
}

// testsOf reads the tests of a package for this system.
func testsOf(dir string) ([]test, error) {
	context := build.Default
	context.CgoEnabled = false
	source, err := context.ImportDir(dir, 0)
	var none *build.NoGoError
	if err != nil && !errors.As(err, &none) {
		return nil, err
	}
	f := functions{uses: map[string][]string{}, starts: map[string]bool{}}
	for _, file := range slices.Concat(source.GoFiles, source.TestGoFiles, source.XTestGoFiles) {
		if err := f.read(filepath.Join(dir, file)); err != nil {
			return nil, err
		}
	}
	f.spread()
	var tests []test
	for name := range f.uses {
		if strings.HasPrefix(name, "Test") && name != "TestMain" {
			tests = append(tests, test{name: name, starts: f.starts[name]})
		}
	}
	slices.SortFunc(tests, func(a, b test) int { return strings.Compare(a.name, b.name) })
	return tests, nil
}

// functions are those of a package, without methods.
type functions struct {
	uses   map[string][]string // by name: which others of the package it calls or hands on
	starts map[string]bool     // whether it starts a daemon
}

func (f functions) read(file string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("read upstream's tests: %w", err)
	}
	for _, declaration := range parsed.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Recv != nil {
			continue
		}
		name := function.Name.Name
		f.uses[name] = []string{}
		var visit func(ast.Node) bool
		visit = func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.Ident:
				f.uses[name] = append(f.uses[name], node.Name)
			case *ast.SelectorExpr:
				// The packages internal/testutil/daemon and integration/internal/swarm.
				if of, ok := node.X.(*ast.Ident); ok {
					text := of.Name + "." + node.Sel.Name
					f.starts[name] = f.starts[name] || text == "daemon.New" || text == "swarm.NewSwarm"
				}
				ast.Inspect(node.X, visit)
				return false // what is selected has no name of the package's
			}
			return true
		}
		ast.Inspect(function.Body, visit)
	}
	return nil
}

// spread finds those that start a daemon through another.
func (f functions) spread() {
	for changed := true; changed; {
		changed = false
		for name, used := range f.uses {
			if !f.starts[name] && slices.ContainsFunc(used, func(other string) bool { return f.starts[other] }) {
				f.starts[name], changed = true, true
			}
		}
	}
}
