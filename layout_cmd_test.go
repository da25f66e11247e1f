package stele_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sharedFiles are those of cmd/stele that its other files may use. server.go is for
// serve and demo.
var sharedFiles = []string{"flags.go", "trust.go", "print.go", "progress.go", "exit.go", "server.go"}

// constructor is what a group of commands may use of its commands' files.
var constructor = regexp.MustCompile(`^new(Root|.*Cmd)$`)

// crossings returns what the files of a program use of each other, other than as
// they may. It resolves names without looking at what is imported.
func crossings(t *testing.T, files map[string]string) []string {
	t.Helper()
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, err := parser.ParseFile(set, name, files[name], parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	c := types.Config{Error: func(error) {}}
	_, _ = c.Check("main", set, parsed, &info) // it fails, since nothing is imported
	var found []string
	for ident, object := range info.Uses {
		from, to := set.Position(ident.Pos()).Filename, set.Position(object.Pos()).Filename
		if to == "" || from == to || slices.Contains(sharedFiles, to) || constructor.MatchString(object.Name()) {
			continue
		}
		found = append(found, fmt.Sprintf("%s uses %s of %s", from, object.Name(), to))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestCommandsShareHelpersThroughFewFiles(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("cmd/stele/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(path)] = string(text)
		}
	}
	if len(files) < len(sharedFiles) {
		t.Fatalf("cmd/stele has %d files", len(files))
	}
	for _, crossing := range crossings(t, files) {
		t.Errorf("%s: share it in one of %s, or move it to a package", crossing, strings.Join(sharedFiles, ", "))
	}
}

// TestSharedHelperInACommandsFileIsSeen has uses that are wrong beside those that
// are not.
func TestSharedHelperInACommandsFileIsSeen(t *testing.T) {
	t.Parallel()
	got := crossings(t, map[string]string{
		"flags.go": "package main\ntype trustFlags struct{}\nfunc (trustFlags) load() {}",
		"group.go": "package main\nfunc newGroup() { newOneCmd() }",
		"one.go":   "package main\nimport \"fmt\"\ntype one struct{ n int }\nfunc (one) run() {}\nfunc newOneCmd() { trustFlags{}.load(); fmt.Println(helper) }\nconst helper = 1",
		"two.go":   "package main\nfunc two(o one) { helper := 2; _ = helper; o.run(); _ = o.n }\nfunc three() { _ = helper }",
	})
	want := []string{"two.go uses helper of one.go", "two.go uses n of one.go", "two.go uses one of one.go", "two.go uses run of one.go"}
	if !slices.Equal(got, want) {
		t.Errorf("seen is %q, want %q", got, want)
	}
}
