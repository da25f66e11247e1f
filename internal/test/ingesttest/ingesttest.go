// Package ingesttest helps to test readers of files of records.
package ingesttest

import (
	"bytes"
	"compress/gzip"
	"io"
	"iter"
	"testing"
)

// Collect returns the events and the errors that a reader gives, in order.
func Collect(events iter.Seq2[[]byte, error]) (good, bad []string) {
	for e, err := range events {
		if err != nil {
			bad = append(bad, err.Error())
		} else {
			good = append(good, string(e))
		}
	}
	return good, bad
}

// Gzip returns s compressed.
func Gzip(t testing.TB, s string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}
