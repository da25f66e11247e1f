package checkpoint_test

import (
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
)

func TestParseAcceptsGoodTexts(t *testing.T) {
	t.Parallel()
	for name, text := range vectors(t, "text/good") {
		t.Run(name, func(t *testing.T) {
			c, err := checkpoint.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if c.String() != string(text) {
				t.Errorf("printed again it is %q", c)
			}
		})
	}
}

func TestParseReadsTheFields(t *testing.T) {
	t.Parallel()
	want := example()
	want.Extensions = "one\ntwo\n"
	got, err := checkpoint.Parse(want.String())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
}

func TestParseRefusesBadTexts(t *testing.T) {
	t.Parallel()
	reasons := map[string]string{
		"base64-line-end.txt":       "line 3: hash",
		"base64-trailing-bits.txt":  "line 3: hash",
		"base64-unpadded.txt":       "line 3: hash",
		"base64-url.txt":            "line 3: hash",
		"crlf.txt":                  "line 1: origin",
		"empty.txt":                 "0 lines",
		"empty-tree-wrong-root.txt": "root of size 0",
		"extension-control.txt":     "control character",
		"extension-empty.txt":       "extension line is empty",
		"extension-not-ended.txt":   "not ended",
		"extension-not-utf8.txt":    "not UTF-8",
		"origin-control.txt":        "line 1: origin",
		"origin-empty.txt":          "line 1: origin",
		"origin-not-utf8.txt":       "line 1: origin",
		"origin-too-long.txt":       "line 1: origin",
		"root-not-ended.txt":        "want at least 3",
		"root-short.txt":            "line 3: hash",
		"size-empty.txt":            "line 2: size",
		"size-hex.txt":              "line 2: size",
		"size-leading-zero.txt":     "line 2: size",
		"size-minus-zero.txt":       "line 2: size",
		"size-plus.txt":             "line 2: size",
		"size-space.txt":            "line 2: size",
		"size-too-large.txt":        "line 2: size",
		"two-lines.txt":             "2 lines",
	}
	files := vectors(t, "text/bad")
	for name, want := range reasons {
		t.Run(name, func(t *testing.T) {
			text, ok := files[name]
			if !ok {
				t.Fatal("there is no such vector")
			}
			_, err := checkpoint.Parse(string(text))
			wantError(t, err, want)
		})
	}
	if len(files) != len(reasons) {
		t.Errorf("%d vectors, but reasons for %d", len(files), len(reasons))
	}
}

func FuzzParse(f *testing.F) {
	for _, folder := range []string{"text/good", "text/bad"} {
		for _, text := range vectors(f, folder) {
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := checkpoint.Parse(text)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Fatalf("%q parses, and prints as %q", text, c)
		}
		if c.Origin == "" || strings.Contains(c.Origin, "\n") || c.Size == 0 && c.Root != tree.EmptyRoot {
			t.Fatalf("%q parses as %+v", text, c)
		}
	})
}
