// Package internal_test holds the rules about what may lean on what.
package internal_test

import (
	"bufio"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/keyreeve/keyreeve"

// floors lists every package of the module with its floor. A package imports
// only packages of lower floors, so that there is one way up and one way down.
// A package of the same floor is a neighbour: what two neighbours share
// belongs below both.
var floors = map[string]int{
	"policy":           1,
	"internal/arn":     1,
	"internal/durable": 1,
	"internal/hint":    1,
	"internal/quota":   1,
	"internal/secret":  1,
	"internal/store":   1,
	"tools/licenses":   1,

	"internal/attestation/attestationtest": 1,

	"internal/attestation":     2,
	"internal/config":          2,
	"internal/sigv4":           2,
	"internal/store/storetest": 2,
	"internal/store/boltstore": 2,
	"internal/wire":            2,
	"internal/call":            2,
	"internal/outbound":        2,
	"internal/seal":            2,
	"internal/tlscert":         2,

	"internal/api/accountapi":       3,
	"internal/api/cloudtrailapi":    3,
	"internal/api/iamapi":           3,
	"internal/api/kmsapi":           3,
	"internal/api/keyreeveapi":      3,
	"internal/api/organizationsapi": 3,
	"internal/api/stsapi":           3,
	"internal/authz":                3,
	"internal/archive/index":        3,
	"internal/audit":                3,
	"internal/record":               3,
	"internal/loadgen":              3,
	"internal/tag":                  3,
	"internal/oidc":                 3,

	"internal/archive":  4,
	"internal/identity": 4,
	"internal/keyring":  4,
	"internal/server":   4,

	"internal/account":       5,
	"internal/iam":           5,
	"internal/organizations": 5,
	"internal/explain":       5,
	"internal/kms":           5,
	"internal/operator":      5,
	"internal/rolesanywhere": 5,
	"internal/trail":         5,
	"internal/trail/s3test":  3,
	"internal/sts":           5,

	"internal/cloudtrail": 6,
	"internal/seed":       6,

	"internal/node": 7,

	"cmd/keyreeve":   8,
	"kmstest":        8,
	"internal/rig":   8,
	"internal/cases": 8,
}

// A goFile is a parsed Go file of the module.
type goFile struct {
	path string // from the module's root, with slashes
	dir  string // its package
	test bool
	ast  *ast.File
	fset *token.FileSet
}

// goFiles parses every Go file of the module, whatever its build constraints:
// an import that only some build sees is an import all the same. Nested modules
// are left out.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	const root = ".."
	var files []goFile
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path == root {
				return nil
			}
			if name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if ignored(f) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		files = append(files, goFile{
			path: rel, dir: dirOf(rel), test: strings.HasSuffix(name, "_test.go"), ast: f, fset: fset,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found %d Go files; the walk is broken", len(files))
	}
	return files
}

func dirOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

// ignored reports whether a file says "//go:build ignore": a program of its own.
func ignored(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if constraint.IsGoBuild(c.Text) && strings.TrimSpace(strings.TrimPrefix(c.Text, "//go:build")) == "ignore" {
				return true
			}
		}
	}
	return false
}

// TestFloors holds the import floors. The tests of a package may import what
// stands on its own floor too (an engine for a store, a fake), never what stands
// above it.
func TestFloors(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range goFiles(t) {
		if f.dir == "internal" { // this file
			continue
		}
		floor, ok := floors[f.dir]
		if !ok {
			t.Errorf("%s: package %s stands on no floor; put it into the list", f.path, f.dir)
			continue
		}
		seen[f.dir] = true
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: import %s: %v", f.path, spec.Path.Value, err)
			}
			dir, ok := strings.CutPrefix(path, modulePath+"/")
			if !ok || dir == f.dir {
				continue
			}
			imported, ok := floors[dir]
			switch {
			case !ok:
				t.Errorf("%s imports %s, which stands on no floor", f.path, dir)
			case f.test && imported > floor && !aboveForTests[f.dir+" <- "+dir]:
				t.Errorf("%s (floor %d) imports %s (floor %d) in a test", f.path, floor, dir, imported)
			case !f.test && imported >= floor:
				t.Errorf("%s (floor %d) imports %s (floor %d)", f.path, floor, dir, imported)
			}
		}
	}
	for dir := range floors {
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(dir))); err == nil && !seen[dir] {
			t.Errorf("%s is on the list of floors and holds no Go file", dir)
		} else if err != nil {
			t.Errorf("%s is on the list of floors and does not exist", dir)
		}
	}
}

// TestArchitecture holds the table of ARCHITECTURE.md against the list: every
// package has its sentence, on its floor.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		floor, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		for name := range strings.SplitSeq(cells[2], ",") {
			told[strings.Trim(name, " `")] = floor
		}
	}
	for dir, floor := range floors {
		switch got, ok := told[dir]; {
		case !ok:
			t.Errorf("ARCHITECTURE.md says nothing about %s (floor %d)", dir, floor)
		case got != floor:
			t.Errorf("ARCHITECTURE.md puts %s on floor %d, the list on %d", dir, got, floor)
		}
	}
	for dir := range told {
		if _, ok := floors[dir]; !ok {
			t.Errorf("ARCHITECTURE.md has %s, the list does not", dir)
		}
	}
}

// aboveForTests are the tests that need a package from above: a contract is
// proven with the conformance suite, a part with a whole.
var aboveForTests = map[string]bool{
	"internal/store <- internal/store/storetest": true,
}

// TestSystemCallers holds the list of code that works without a caller. It is
// the one way to a permit that no policy decided, so each use of it is written
// down, with its reason, in system_callers.txt.
func TestSystemCallers(t *testing.T) {
	const list = "system_callers.txt"
	want := readCallers(t, list)
	got := make(map[string]bool)
	for _, f := range goFiles(t) {
		if f.test || f.dir == "internal/authz" {
			continue
		}
		name := localName(f.ast, modulePath+"/internal/authz", "authz")
		if name == "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "System" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != name {
				return true
			}
			caller := f.path + " " + enclosing(f.ast, n.Pos())
			got[caller] = true
			if want[caller] == "" {
				t.Errorf("%s: authz.System is used in %q, which is not in %s", f.fset.Position(n.Pos()), caller, list)
			}
			return true
		})
		if name == "." {
			t.Errorf("%s imports authz with a dot, which hides uses of System", f.path)
		}
	}
	for caller := range want {
		if !got[caller] {
			t.Errorf("%s lists %q, which does not use authz.System any more", list, caller)
		}
	}
}

// localName returns the name by which a file calls an imported package.
func localName(f *ast.File, path, base string) string {
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return base
	}
	return ""
}

// enclosing names the function around a position, or "-" at package level.
func enclosing(f *ast.File, pos token.Pos) string {
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || pos < fn.Pos() || pos > fn.End() {
			continue
		}
		if fn.Recv == nil || len(fn.Recv.List) == 0 {
			return fn.Name.Name
		}
		recv := fn.Recv.List[0].Type
		if star, ok := recv.(*ast.StarExpr); ok {
			recv = star.X
		}
		if index, ok := recv.(*ast.IndexExpr); ok {
			recv = index.X
		}
		if id, ok := recv.(*ast.Ident); ok {
			return id.Name + "." + fn.Name.Name
		}
		return fn.Name.Name
	}
	return "-"
}

// readCallers reads lines "file function: reason".
func readCallers(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	callers := make(map[string]string)
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		caller, reason, _ := strings.Cut(line, ":")
		if reason = strings.TrimSpace(reason); reason == "" {
			t.Errorf("%s: %q gives no reason", path, line)
			continue
		}
		callers[strings.Join(strings.Fields(caller), " ")] = reason
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return callers
}

// TestAmbient refuses what would make the caller ambient (a value in a
// context.Context), weak randomness where there should be strong, and what goes
// around the type system. An exception needs a reason.
func TestAmbient(t *testing.T) {
	unused := make(map[string]bool)
	for exception := range exceptions {
		unused[exception] = true
	}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch path {
			case "math/rand", "math/rand/v2", "reflect", "unsafe":
				exception := f.path + " " + path
				if exceptions[exception] == "" {
					t.Errorf("%s imports %s, which is not among the exceptions", f.path, path)
				}
				delete(unused, exception)
			}
		}
		name := localName(f.ast, "context", "context")
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "WithValue" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && name != "" && x.Name == name {
				exception := f.path + " context.WithValue"
				if exceptions[exception] == "" {
					t.Errorf("%s puts a value into a context", f.fset.Position(n.Pos()))
				}
				delete(unused, exception)
			}
			return true
		})
	}
	for exception := range unused {
		t.Errorf("the exception %q is not needed any more", exception)
	}
}

// exceptions are what TestAmbient lets pass, with reasons.
var exceptions = map[string]string{
	"internal/audit/record.go math/rand/v2":              "event ids have to be unique, and are no secret",
	"internal/keyring/keyring.go math/rand/v2":           "how long to wait before the next attempt",
	"internal/loadgen/drive.go math/rand/v2":             "which key a request is for",
	"internal/seal/arena.go math/rand/v2":                "which free list to look at",
	"internal/store/storetest/storetest.go math/rand/v2": "random commits, the same at each run",
	"internal/record/intent.go context.WithValue":        "the note of a change, so that no commit under a call can be without it; never who calls",
	"internal/secret/secret.go unsafe":                   "a pointer to bytes that package fmt does not follow",
}
