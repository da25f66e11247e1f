package postgres_test

import (
	"slices"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage"
)

// TestRunsTakeThePlaceOfThoseThatAreGone writes as many runs as were merged, and
// finds the table no larger.
func TestRunsTakeThePlaceOfThoseThatAreGone(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	write := func(start, end uint64) {
		t.Helper()
		pages := make([]storage.Page, end-start)
		for i := range pages {
			pages[i] = storage.Page{First: uint64(i), Data: make([]byte, 1900)}
		}
		if err := l.Runs().Replace(t.Context(), storage.Run{Kind: "event", Start: start, End: end}, slices.Values(pages), nil); err != nil {
			t.Fatal(err)
		}
	}
	conn := pgtest.Connect(t, url)
	size := func() (bytes int64) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT pg_relation_size('stele.key_pages')").Scan(&bytes); err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	for start := uint64(0); start < 800; start += 100 {
		write(start, start+100)
	}
	write(0, 800)
	merged := size()
	for start := uint64(800); start < 1500; start += 100 {
		write(start, start+100)
	}
	if grown := size() - merged; grown > merged/10 {
		t.Errorf("after 8 runs were merged, 7 more made the table of %d bytes larger by %d", merged, grown)
	}
}
