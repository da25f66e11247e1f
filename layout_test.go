// Package stele_test holds the code to the layout that docs/design.md describes.
package stele_test

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/stele-log/stele"

// A layout says, for each folder with a package, which packages it may import:
// paths below the module, or, with /... at the end, all from one down.
type layout map[string][]string

var (
	tableRow   = regexp.MustCompile("(?m)^\\| (`.*?) \\|.*\\| ([^|]*) \\|$")
	quotedPath = regexp.MustCompile("`([a-z0-9/.]+)`")
)

// readLayout reads the table of folders in docs/design.md.
func readLayout(t *testing.T) layout {
	t.Helper()
	text, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Folders")
	section, _, _ = strings.Cut(section, "\n## ")
	l := layout{}
	for _, row := range tableRow.FindAllStringSubmatch(section, -1) {
		var imports []string
		for _, m := range quotedPath.FindAllStringSubmatch(row[2], -1) {
			imports = append(imports, m[1])
		}
		for _, m := range quotedPath.FindAllStringSubmatch(row[1], -1) {
			l[m[1]] = imports
		}
	}
	if len(l) == 0 {
		t.Fatal("docs/design.md has no table of folders")
	}
	return l
}

// allows reports whether the package in a folder may import one of ours.
func (l layout) allows(folder, imported string) bool {
	return folder == imported || slices.ContainsFunc(l[folder], func(pattern string) bool {
		above, below := strings.CutSuffix(pattern, "/...")
		return imported == above || below && strings.HasPrefix(imported, above+"/")
	})
}

// drivers may be imported only by what wires them, and by tests.
var drivers = []string{"storage/postgres", "storage/sqlite"}

// check returns what in a tree of packages is not as the layout says.
func (l layout) check(packages map[string]*goPackage) []error {
	var errs []error
	for _, folder := range slices.Sorted(maps.Keys(packages)) {
		p := packages[folder]
		if _, ok := l[folder]; !ok {
			errs = append(errs, fmt.Errorf("%s is not in the table of docs/design.md", folder))
			continue
		}
		if !p.documented {
			errs = append(errs, fmt.Errorf("%s has no package comment", folder))
		}
		for _, imported := range slices.Sorted(maps.Keys(p.imports)) {
			if !l.allows(folder, imported) {
				errs = append(errs, fmt.Errorf("%s imports %s; docs/design.md lets it import %s",
					folder, imported, cmp.Or(strings.Join(l[folder], ", "), "nothing of ours")))
			}
			if slices.Contains(drivers, imported) && folder != "cmd/stele" && !strings.HasPrefix(folder, "internal/test/") {
				errs = append(errs, fmt.Errorf("%s imports %s; only cmd/stele and tests may import a driver", folder, imported))
			}
		}
	}
	for folder := range l {
		if packages[folder] == nil {
			errs = append(errs, fmt.Errorf("docs/design.md has a row for %s, where there is no package", folder))
		}
	}
	return errs
}

// A goPackage is what the layout is about, of one package without its tests.
type goPackage struct {
	documented bool
	imports    map[string]bool // of ours, below the module
}

// readPackages reads the imports of all packages in a tree, by folder, in this
// process: what a child process reads, the cache of test results does not see.
func readPackages(tree fs.FS) (map[string]*goPackage, error) {
	packages := map[string]*goPackage{}
	err := fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() && file != ".":
			if _, err := fs.Stat(tree, path.Join(file, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
			return nil
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		p := packages[path.Dir(file)]
		if p == nil {
			p = &goPackage{imports: map[string]bool{}}
			packages[path.Dir(file)] = p
		}
		p.documented = p.documented || parsed.Doc != nil
		return p.add(parsed.Imports)
	})
	return packages, err
}

func (p *goPackage) add(imports []*ast.ImportSpec) error {
	for _, spec := range imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
			p.imports[ours] = true
		}
	}
	return nil
}

func TestPackagesAreAsTheLayoutSays(t *testing.T) {
	t.Parallel()
	l := readLayout(t)
	packages, err := readPackages(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range slices.Sorted(maps.Keys(l)) {
		t.Logf("%-32s may import %s", folder, cmp.Or(strings.Join(l[folder], " "), "nothing of ours"))
	}
	for _, err := range l.check(packages) {
		t.Error(err)
	}
}

// TestForbiddenImportIsSeen puts files that break the layout beside ours.
func TestForbiddenImportIsSeen(t *testing.T) {
	t.Parallel()
	l := readLayout(t)
	for _, c := range []struct{ file, text, want string }{
		{"witness/x.go", `import "` + module + `/storage"`, "witness imports storage;"},
		{"pkg/tree/x.go", `import _ "` + module + `/internal/engine"`, "pkg/tree imports internal/engine;"},
		{"api/x.go", `import "` + module + `/internal/keyindex"`, "api imports internal/keyindex;"},
		{"internal/engine/x.go", `import "` + module + `/storage/sqlite"`, "only cmd/stele and tests may import a driver"},
		{"internal/nowhere/x.go", ``, "internal/nowhere is not in the table"},
	} {
		dir := t.TempDir()
		if err := errors.Join(
			os.MkdirAll(filepath.Join(dir, filepath.Dir(c.file)), 0o755),
			os.WriteFile(filepath.Join(dir, c.file), []byte("// Package x.\npackage x\n"+c.text), 0o644),
		); err != nil {
			t.Fatal(err)
		}
		packages, err := readPackages(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(l.check(packages), func(err error) bool { return strings.Contains(err.Error(), c.want) }) {
			t.Errorf("%s with %s: nobody says %q", c.file, c.text, c.want)
		}
	}
}
