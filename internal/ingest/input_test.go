package ingest_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/ingest"
)

// words is a format in which a record is a word, and "bad" is wrong.
func words(name string, r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		text, err := io.ReadAll(r)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, word := range bytes.Fields(text) {
			if string(word) == "bad" {
				word, err = nil, errors.New(name+": a bad word")
			}
			if !yield(word, err) {
				return
			}
			err = nil
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFilesAreReadOneAfterTheOther(t *testing.T) {
	t.Parallel()
	one, two, none := writeFile(t, "a bad b"), writeFile(t, "c d"), filepath.Join(t.TempDir(), "none")
	var got []string
	read := uint64(0)
	for in := range ingest.Files([]string{one, none, two}, words, func(n uint64) { read = n }) {
		if in.Err != nil {
			got = append(got, in.Err.Error())
		} else {
			got = append(got, in.Place+" "+string(in.Event))
		}
	}
	want := []string{one + ": record 1 a", one + ": a bad word", one + ": record 3 b",
		"open " + none + ": no such file or directory", two + ": record 1 c", two + ": record 2 d"}
	if !slices.Equal(got, want) || read != 10 {
		t.Errorf("read are %q of %d bytes, want %q of 10", got, read, want)
	}
	for range ingest.Files([]string{one, two}, words, func(uint64) {}) {
		break // the files are closed, and no more is asked for
	}
}

func TestSizeOfFiles(t *testing.T) {
	t.Parallel()
	one, two := writeFile(t, "12345"), writeFile(t, "678")
	if n, err := ingest.Size([]string{one, two}); n != 8 || err != nil {
		t.Errorf("two files: %d, %v", n, err)
	}
	if n, err := ingest.Size([]string{one, os.DevNull}); n != 0 || err != nil {
		t.Errorf("a device among them: %d, %v", n, err)
	}
	if _, err := ingest.Size([]string{one, filepath.Dir(two)}); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder among them: %v", err)
	}
	if _, err := ingest.Size([]string{one, two + "x"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name that is wrong: %v", err)
	}
}
