package client_test

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// historyOf returns a history of notes.
func historyOf(notes ...[]byte) iter.Seq2[heads.Checkpoint, error] {
	numbers := make([]uint64, len(notes))
	for i := range numbers {
		numbers[i] = uint64(i)
	}
	return numbered(notes, numbers...)
}

// numbered returns a history of notes that have those numbers.
func numbered(notes [][]byte, numbers ...uint64) iter.Seq2[heads.Checkpoint, error] {
	return func(yield func(heads.Checkpoint, error) bool) {
		for i, n := range notes {
			if !yield(heads.Checkpoint{Number: numbers[i], Note: n}, nil) {
				return
			}
		}
	}
}

// signAll returns the log's checkpoints of those sizes.
func (l *memLog) signAll(t *testing.T, sizes ...int) [][]byte {
	t.Helper()
	var notes [][]byte
	for _, size := range sizes {
		notes = append(notes, l.sign(t, l.head(size)))
	}
	return notes
}

func TestHistoryThatAgreesIsCounted(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 1000)
	larger := l.sign(t, tree.Head{Size: 1001, Root: tree.LeafHash(nil)})
	for _, test := range []struct {
		name  string
		notes [][]byte
		want  uint64
	}{
		{"none", nil, 0},
		{"from the empty tree on", l.signAll(t, 0, 1, 100, 101, 255, 256, 257, 511, 512, 600, 999, 1000), 12},
		{"some twice", l.signAll(t, 0, 0, 300, 300, 300, 1000, 1000), 7},
		{"not the newest", l.signAll(t, 7), 1},
		{"and published since", append(l.signAll(t, 10, 1000), larger, larger), 2},
	} {
		for _, r := range []tile.Reader{tile.FS(l), inARow{tile.FS(l)}} {
			report, err := client.Check(t.Context(), r, l.policy(t), client.CheckOptions{History: historyOf(test.notes...)})
			if err != nil || report.Past != test.want || report.Head != l.head(1000) {
				t.Errorf("%s: %+v, error %v, want %d of the past", test.name, report, err, test.want)
			}
		}
	}
}

func TestHistoryThatDisagreesIsNamed(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 1000)
	forged := l.clone()
	forged.useKey(t, memOrigin, 2)
	other := tree.LeafHash([]byte("another history"))
	late := l.clone()
	rewrite(700)(t, late)
	larger := l.sign(t, tree.Head{Size: 1001, Root: other})
	broken := errors.New("the history broke off")
	for _, test := range []struct {
		name    string
		log     *memLog
		history iter.Seq2[heads.Checkpoint, error]
		want    string
	}{
		{"another root", l, historyOf(append(l.signAll(t, 0, 100, 256), l.sign(t, tree.Head{Size: 300, Root: other}))...),
			"checkpoint 3: it signs size 300 root " + other.String()},
		{"another root, with its range", l, historyOf(append(l.signAll(t, 0, 100, 256), l.sign(t, tree.Head{Size: 300, Root: other}))...),
			"one of the entries 256 to 299 was changed, or another history was signed"},
		{"another root of the newest size", l, historyOf(l.sign(t, tree.Head{Size: 1000, Root: other})),
			"checkpoint 0: it signs size 1000"},
		{"all rewritten", late, historyOf(l.signAll(t, 256, 600, 800, 1000)...),
			"checkpoint 2: it signs size 800"},
		{"all rewritten, with its range", late, historyOf(l.signAll(t, 256, 600, 800, 1000)...),
			"one of the entries 600 to 799 was changed"},
		{"another key", l, historyOf(append(l.signAll(t, 0, 100), forged.signAll(t, 200)...)...),
			"checkpoint 2: open checkpoint of log.example/mem: no valid signature"},
		{"no checkpoint", l, historyOf(append(l.signAll(t, 0), []byte("nothing\n"))...), "checkpoint 1: "},
		{"one that is smaller", l, historyOf(l.signAll(t, 10, 500, 499)...),
			"checkpoint 2: its size, 499, is smaller than that of one before"},
		{"one left out", l, numbered(l.signAll(t, 10, 20, 30), 0, 2, 3), "checkpoint 1 is missing: the next is 2"},
		{"the first left out", l, numbered(l.signAll(t, 10, 20), 1, 2), "checkpoint 0 is missing: the next is 1"},
		{"one twice", l, numbered(l.signAll(t, 10, 20, 20), 0, 1, 1), "checkpoint 2 is missing: the next is 1"},
		{"one left out of those published since", l, numbered([][]byte{larger, larger}, 0, 2), "checkpoint 1 is missing"},
		{"an error", l, func(yield func(heads.Checkpoint, error) bool) {
			_ = yield(heads.Checkpoint{Note: l.sign(t, l.head(300))}, nil) &&
				yield(heads.Checkpoint{}, broken)
		}, "read history of checkpoints: " + broken.Error()},
	} {
		_, err := client.Check(t.Context(), tile.FS(test.log), l.policy(t), client.CheckOptions{History: test.history})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// TestHistoryIsLetGo leaves no iterator suspended, however the check ends.
func TestHistoryIsLetGo(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 600)
	bad := l.clone()
	change("tile/entries/000", replace("entry 9", "entry g"))(t, bad)
	for _, log := range []*memLog{l, bad} {
		ended := false
		_, _ = client.Check(t.Context(), tile.FS(log), l.policy(t), client.CheckOptions{
			History: func(yield func(heads.Checkpoint, error) bool) {
				defer func() { ended = true }()
				for n, note := range l.signAll(t, 1, 2, 600) {
					if !yield(heads.Checkpoint{Number: uint64(n), Note: note}, nil) {
						return
					}
				}
			},
		})
		if !ended {
			t.Error("the history was not let go")
		}
	}
}

// An askew reads other ranges than it is asked for, at one level.
type askew struct {
	inARow
	level int
	more  int // tiles
}

func (r askew) ReadTiles(ctx context.Context, level int, start, end uint64, f func([]byte) error) error {
	if level == r.level {
		end += uint64(r.more)
	}
	return r.inARow.ReadTiles(ctx, level, start, end, f)
}

func TestCheckCountsTilesInARow(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 40_000) // the first range has 128 bundles
	for _, level := range []int{tile.Entries, 0} {
		for _, more := range []int{-1, 1} {
			_, err := client.Check(t.Context(), askew{inARow{tile.FS(l)}, level, more}, l.policy(t), client.CheckOptions{})
			if err == nil || !strings.Contains(err.Error(), "the reader returned") {
				t.Errorf("%d more at level %d: error %v", more, level, err)
			}
		}
	}
}

// TestCheckLeavesNoGoroutineBehind runs in a bubble, which fails if goroutines
// are left at its end.
func TestCheckLeavesNoGoroutineBehind(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 20_000)
	p := l.policy(t)
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		want error
		read func(ctx context.Context, t tile.Tile) error
	}{
		{"an error at the first bundle", broken, func(_ context.Context, at tile.Tile) error {
			if at.Level == tile.Entries && at.Index == 0 {
				return broken
			}
			return nil
		}},
		{"an error after a while, others being slow", broken, func(ctx context.Context, at tile.Tile) error {
			switch {
			case at.Level == tile.Entries && at.Index == 40:
				return broken
			case at.Index > 40:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}},
		{"a log that does not answer", context.DeadlineExceeded, func(ctx context.Context, at tile.Tile) error {
			if at.Index < 30 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}},
		{"a log that takes no notice", context.DeadlineExceeded, func(_ context.Context, at tile.Tile) error {
			time.Sleep(time.Second)
			return nil
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := client.Check(ctx, watched{tile.FS(l), test.read}, p, client.CheckOptions{})
			if !errors.Is(err, test.want) {
				t.Errorf("%s: error %v, want %q", test.name, err, test.want)
			}
			if took := time.Since(start); test.want == broken && took > 0 {
				t.Errorf("%s: it took %v to end", test.name, took)
			}
		})
	}
}

// TestCheckReadsAhead keeps several reads under way, and not all at once.
func TestCheckReadsAhead(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 66_000)
	p := l.policy(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := watched{tile.FS(l), func(context.Context, tile.Tile) error { time.Sleep(time.Second); return nil }}
		if _, err := client.Check(t.Context(), r, p, client.CheckOptions{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 200*time.Second {
			t.Errorf("516 reads of a second took %v", took)
		}
	})
}

func TestCheckOverHTTP(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 700)
	server := httptest.NewServer(http.StripPrefix("/logs/mem", http.FileServerFS(l)))
	defer server.Close()
	prefix := server.URL + "/logs/mem/"
	report, err := client.Check(t.Context(), tile.HTTP(server.Client(), prefix), l.policy(t),
		client.CheckOptions{History: client.History(t.Context(), server.Client(), prefix, 0)})
	if err != nil || report.Head.Size != 700 || report.Past != 0 {
		t.Errorf("%+v, error %v", report, err)
	}
	if !slices.Equal(report.Logs, l.policy(t).Logs()) {
		t.Errorf("signed by %v", report.Logs)
	}
}
