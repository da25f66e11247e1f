package client_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// sizes are those of logs on both sides of where tiles and levels begin.
var sizes = []int{0, 1, 2, 255, 256, 257, 511, 512, 600, 66_000}

// goldenLog returns the log that every version must verify, and trust in it.
func goldenLog(t *testing.T) (tile.Reader, *policy.Policy) {
	t.Helper()
	vkey, err := os.ReadFile("../../testdata/log-300.vkey")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.ForLog(strings.TrimSpace(string(vkey)))
	if err != nil {
		t.Fatal(err)
	}
	return tile.FS(os.DirFS("../../testdata/log-300")), p
}

func TestWholeLogsAreReadAndChecked(t *testing.T) {
	t.Parallel()
	for _, size := range sizes {
		l := newMemLog(t, size)
		r, p := tile.FS(l), l.policy(t)
		head, err := client.ReadHead(t.Context(), r, p)
		if err != nil || head.Head != l.head(size) {
			t.Fatalf("%d entries: head %v, error %v", size, head.Head, err)
		}
		if n, err := readAll(t, r, head.Head, l.entries); err != nil || n != size {
			t.Errorf("%d entries: %d read, error %v", size, n, err)
		}
		for _, r := range []tile.Reader{r, inARow{r}} {
			var done uint64
			report, err := client.Check(t.Context(), r, p, client.CheckOptions{Progress: func(n, total uint64) {
				if n <= done || total != uint64(size) {
					t.Errorf("%d entries: progress %d of %d, after %d", size, n, total, done)
				}
				done = n
			}})
			if err != nil || report.Head != head.Head || report.Past != 0 || done != uint64(size) {
				t.Errorf("%d entries: checked %+v, progress up to %d, error %v", size, report, done, err)
			}
		}
	}
}

func TestGoldenLogIsReadAndChecked(t *testing.T) {
	t.Parallel()
	r, p := goldenLog(t)
	report, err := client.Check(t.Context(), r, p, client.CheckOptions{})
	if err != nil || report.Head.Size != 300 {
		t.Fatalf("checked %+v, error %v", report, err)
	}
	n := uint64(0)
	for e, err := range client.ReadEntries(t.Context(), r, report.Head, 0, 300) {
		if err != nil || e.Index != n || len(e.Data) == 0 || e.Data[0] != '{' {
			t.Fatalf("entry %d: %d %q, error %v", n, e.Index, e.Data, err)
		}
		n++
	}
	if n != 300 {
		t.Errorf("%d entries", n)
	}
}

func TestReadEntriesReadsRanges(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 132_000) // two full tiles at level 1
	head := l.head(132_000)
	for _, span := range []struct{ start, end uint64 }{
		{0, 0}, {0, 1}, {255, 257}, {256, 512}, {300, 301}, {65_535, 65_537}, {65_791, 65_793},
		{131_071, 131_073}, {131_999, 132_000}, {132_000, 132_000}, {65_000, 66_000},
	} {
		next := span.start
		for e, err := range client.ReadEntries(t.Context(), tile.FS(l), head, span.start, span.end) {
			if err != nil || e.Index != next || string(e.Data) != string(l.entries[next]) {
				t.Fatalf("%v: entry %d is %d %q, error %v", span, next, e.Index, e.Data, err)
			}
			next++
		}
		if next != span.end {
			t.Errorf("%v: ended at %d", span, next)
		}
	}
	for _, span := range []struct{ start, end uint64 }{{0, 132_001}, {2, 1}, {132_001, 132_001}, {1<<64 - 1, 1<<64 - 1}} {
		n := 0
		for _, err := range client.ReadEntries(t.Context(), tile.FS(l), head, span.start, span.end) {
			if n++; err == nil {
				t.Errorf("%v can be read", span)
			}
		}
		if n != 1 {
			t.Errorf("%v: %d results, want an error", span, n)
		}
	}
}

func TestReadEntriesStopsWhenTold(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 600)
	last := uint64(0)
	for e, err := range client.ReadEntries(t.Context(), tile.FS(l), l.head(600), 0, 600) {
		if err != nil {
			t.Fatal(err)
		}
		if last = e.Index; last == 300 {
			break
		}
	}
	if last != 300 {
		t.Errorf("stopped at %d", last)
	}
}

// A watched is a Reader that does something before it reads a tile.
type watched struct {
	tile.Reader
	before func(context.Context, tile.Tile) error
}

func (r watched) ReadTile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if err := r.before(ctx, t); err != nil {
		return nil, err
	}
	return r.Reader.ReadTile(ctx, t)
}

func TestCancelledContextEndsReadEntries(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := watched{tile.FS(l), func(ctx context.Context, _ tile.Tile) error { return ctx.Err() }}
	n, failed := 0, error(nil)
	for _, err := range client.ReadEntries(ctx, r, l.head(1000), 0, 1000) {
		if n, failed = n+1, err; n == 100 {
			cancel()
		}
	}
	if !errors.Is(failed, context.Canceled) || n > 257 {
		t.Errorf("%d results, the last with error %v", n, failed)
	}
}

// TestTilesAboveAreReadOnce counts what is read of a log with more than one
// tile a level.
func TestTilesAboveAreReadOnce(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 66_000)
	reads := map[tile.Tile]int{}
	r := watched{tile.FS(l), func(_ context.Context, t tile.Tile) error { reads[t]++; return nil }}
	if n, err := readAll(t, r, l.head(66_000), l.entries); err != nil || n != 66_000 {
		t.Fatalf("%d entries, error %v", n, err)
	}
	for at, n := range reads {
		if n > 1 {
			t.Errorf("%s was read %d times", at, n)
		}
	}
	if want := 258 + 3 + 1; len(reads) != want {
		t.Errorf("%d tiles and bundles were read, want %d", len(reads), want)
	}
}
