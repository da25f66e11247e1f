// Package stele_test holds the code to the layout that docs/design.md describes.
package stele_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/stele-log/stele/"

// mayImport says which folders of the module the packages of a folder may
// import; the first folder that a package lies in counts. Any folder may import
// itself.
var mayImport = []struct {
	folder  string
	imports []string
}{
	{"pkg/", []string{"pkg/"}},
	{"storage/postgres", []string{"storage", "migrations", "pkg/"}},
	{"storage/sqlite", []string{"storage", "migrations", "pkg/"}},
	{"storage/storagetest", []string{"storage", "pkg/"}},
	{"storage", []string{"pkg/"}},
	{"migrations", nil},
	{"internal/keyindex", []string{"storage", "pkg/"}},
	{"internal/leafindex", []string{"internal/keyindex", "storage", "pkg/"}},
	{"internal/sequencer", []string{"internal/keyindex", "storage", "pkg/"}},
	{"internal/publisher", []string{"storage", "witness", "pkg/"}},
	{"internal/keyfile", nil},
	{"internal/filelock", nil},
	{"internal/host", []string{"internal/keyfile", "internal/sequencer", "internal/publisher", "internal/leafindex", "storage", "witness", "pkg/"}},
	{"internal/httpserver", nil},
	{"internal/auditor", []string{"pkg/"}},
	{"internal/mirror", []string{"internal/filelock", "storage", "pkg/"}},
	{"witness/witnessdb", []string{"witness", "migrations", "pkg/"}},
	{"internal/witnesstest", []string{"witness", "pkg/"}},
	{"witness", []string{"pkg/"}},
	{"internal/importer", []string{"pkg/"}},
	{"internal/golden", []string{"pkg/"}},
	{"internal/pgtest", []string{"storage/postgres", "migrations"}},
	{"internal/dbtest", []string{"internal/pgtest", "storage"}},
	{"api", []string{"internal/", "storage", "witness", "pkg/"}},
	{"cmd/stele", []string{"api", "internal/", "storage", "witness", "pkg/"}},
}

// drivers may be imported only by what wires them, and by tests.
var drivers = []string{"storage/postgres", "storage/sqlite"}

func TestPackagesImportOnlyWhatTheLayoutAllows(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		if folder == strings.TrimSuffix(module, "/") {
			continue // this package
		}
		allowed, ok := allowedImports(folder)
		if !ok {
			t.Errorf("%s is not in the layout: add it here and to docs/design.md", folder)
			continue
		}
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			if ours && !within(imported, append(allowed, folder)) {
				t.Errorf("%s imports %s; it may import %v", folder, imported, allowed)
			}
			if ours && within(imported, drivers) && !within(folder, []string{"cmd/stele", "internal/pgtest", "internal/dbtest"}) {
				t.Errorf("%s imports %s; only wiring and tests may", folder, imported)
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

type goPackage struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func allowedImports(folder string) ([]string, bool) {
	for _, rule := range mayImport {
		if within(folder, []string{rule.folder}) {
			return rule.imports, true
		}
	}
	return nil, false
}

func within(folder string, folders []string) bool {
	for _, f := range folders {
		if folder == strings.TrimSuffix(f, "/") || strings.HasPrefix(folder, strings.TrimSuffix(f, "/")+"/") {
			return true
		}
	}
	return false
}
