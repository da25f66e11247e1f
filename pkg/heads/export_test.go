package heads_test

import (
	"bytes"
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
)

// day returns the time at which the test log publishes the checkpoint of a number.
func day(number int) time.Time { return time.Date(2026, 10, 1+number, 12, 0, 0, 0, time.UTC) }

// published returns the history of a log that has published checkpoints of those
// sizes, one a day.
func published(t *testing.T, l *memlog.Log, sizes ...uint64) heads.History {
	t.Helper()
	var all []heads.Checkpoint
	for i, size := range sizes {
		all = append(all, heads.Checkpoint{Number: uint64(i), Published: day(i), Note: l.Note(t, size)})
	}
	return listed(all)
}

// listed returns the history of the checkpoints given.
func listed(all []heads.Checkpoint) heads.History {
	return func(_ context.Context, from uint64) iter.Seq2[heads.Checkpoint, error] {
		return func(yield func(heads.Checkpoint, error) bool) {
			for i := from; i < uint64(len(all)); i++ {
				if !yield(all[i], nil) {
					return
				}
			}
		}
	}
}

func TestExportWritesAPeriod(t *testing.T) {
	t.Parallel()
	l := memlog.New(t, 1000, memlog.NoFork)
	history := published(t, l, 0, 10, 10, 300, 600, 900, 1000)
	size, at := heads.AtSize, heads.AtTime
	for _, test := range []struct {
		from, to heads.Bound
		want     heads.Exported
	}{
		{heads.Bound{}, heads.Bound{}, heads.Exported{Count: 7, First: 0, Last: 1000}},
		{size(0), size(0), heads.Exported{Count: 1, First: 0, Last: 0}},
		{size(10), size(10), heads.Exported{Count: 3, First: 0, Last: 10}},
		{size(11), heads.Bound{}, heads.Exported{Count: 5, First: 10, Last: 1000}},
		{size(300), size(899), heads.Exported{Count: 3, First: 10, Last: 600}},
		{size(1000), heads.Bound{}, heads.Exported{Count: 2, First: 900, Last: 1000}},
		{at(day(0)), at(day(2)), heads.Exported{Count: 2, First: 0, Last: 10}},
		{at(day(3)), heads.Bound{}, heads.Exported{Count: 5, First: 10, Last: 1000}},
		{at(day(5).Add(time.Second)), heads.Bound{}, heads.Exported{Count: 2, First: 900, Last: 1000}},
		{at(day(2)), size(600), heads.Exported{Count: 4, First: 10, Last: 600}},
	} {
		var b bytes.Buffer
		got, err := heads.Export(t.Context(), &b, heads.ExportConfig{
			Log: l, History: history, Policy: l.Policy, From: test.from, To: test.to})
		if err != nil || got != test.want {
			t.Errorf("%+v to %+v: %+v, %v; want %+v", test.from, test.to, got, err, test.want)
			continue
		}
		report, err := heads.Verify(&b, l.Policy)
		if err != nil || report.Count != got.Count || report.First.Size != got.First || report.Last.Size != got.Last {
			t.Errorf("%+v to %+v: verified is %+v, %v", test.from, test.to, report, err)
		}
	}
}

func TestExportOfAPeriodWithoutCheckpointFails(t *testing.T) {
	t.Parallel()
	l := memlog.New(t, 600, memlog.NoFork)
	history := published(t, l, 10, 300, 600)
	for _, test := range []struct{ from, to heads.Bound }{
		{heads.AtSize(601), heads.Bound{}},
		{heads.AtSize(301), heads.AtSize(599)},
		{heads.AtTime(day(3)), heads.Bound{}},
		{heads.Bound{}, heads.AtSize(9)},
		{heads.Bound{}, heads.AtTime(day(0))},
	} {
		_, err := heads.Export(t.Context(), new(bytes.Buffer), heads.ExportConfig{
			Log: l, History: history, Policy: l.Policy, From: test.from, To: test.to})
		if err == nil || !strings.Contains(err.Error(), "no checkpoint in this period") {
			t.Errorf("%+v to %+v: %v", test.from, test.to, err)
		}
	}
}

// TestExportVerifiesWhatItWrites shows it histories and tiles that cannot be.
func TestExportVerifiesWhatItWrites(t *testing.T) {
	t.Parallel()
	l, other := memlog.New(t, 600, memlog.NoFork), memlog.New(t, 600, 100)
	good := func() []heads.Checkpoint {
		return []heads.Checkpoint{{Number: 0, Published: day(0), Note: l.Note(t, 256)},
			{Number: 1, Published: day(1), Note: l.Note(t, 512)}, {Number: 2, Published: day(2), Note: l.Note(t, 600)}}
	}
	for _, test := range []struct {
		name   string
		change func(all []heads.Checkpoint) []heads.Checkpoint
		want   string
	}{
		{"of another history", func(all []heads.Checkpoint) []heads.Checkpoint {
			all[1].Note = other.Note(t, 512)
			return all
		}, "checkpoint 1: it is not consistent with the one before"},
		{"not signed", func(all []heads.Checkpoint) []heads.Checkpoint {
			all[2].Note = bytes.Replace(all[2].Note, []byte("600"), []byte("599"), 1)
			return all
		}, "checkpoint 2: "},
		{"left out", func(all []heads.Checkpoint) []heads.Checkpoint {
			return append(all[:1], all[2])
		}, "checkpoint 1 is missing: the next is 2"},
		{"smaller than the one before", func(all []heads.Checkpoint) []heads.Checkpoint {
			all[1].Note, all[2].Note = all[2].Note, all[1].Note
			return all
		}, "checkpoint 2"},
		{"no history", func([]heads.Checkpoint) []heads.Checkpoint { return nil }, "serves no history of checkpoints"},
	} {
		_, err := heads.Export(t.Context(), new(bytes.Buffer), heads.ExportConfig{
			Log: l, History: listed(test.change(good())), Policy: l.Policy})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	l.Change = func(at tile.Tile, data []byte) []byte {
		if at.Level == 0 && at.Index == 2 {
			data[9] ^= 1
		}
		return data
	}
	_, err := heads.Export(t.Context(), new(bytes.Buffer), heads.ExportConfig{Log: l, History: listed(good()), Policy: l.Policy})
	if want := "or the log's tiles were changed"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a changed tile: %v, want %q", err, want)
	}
}

// TestExportReadsLittleOfALongHistory to find where a period begins.
func TestExportReadsLittleOfALongHistory(t *testing.T) {
	t.Parallel()
	l := memlog.New(t, 600, memlog.NoFork)
	sizes := make([]uint64, 600)
	for i := range sizes {
		sizes[i] = uint64(i)
	}
	history := published(t, l, sizes...)
	read := 0
	counted := func(ctx context.Context, from uint64) iter.Seq2[heads.Checkpoint, error] {
		return func(yield func(heads.Checkpoint, error) bool) {
			for c, err := range history(ctx, from) {
				read++
				if !yield(c, err) {
					return
				}
			}
		}
	}
	done, err := heads.Export(t.Context(), new(bytes.Buffer), heads.ExportConfig{
		Log: l, History: counted, Policy: l.Policy, From: heads.AtSize(590), To: heads.AtSize(595)})
	if err != nil || done.Count != 7 || read > 30 {
		t.Errorf("%+v, %v after reading %d checkpoints", done, err, read)
	}
}

func TestParseBound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]heads.Bound{
		"":                     {},
		"42":                   heads.AtSize(42),
		"2026-10-01":           heads.AtTime(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)),
		"2026-10-01T06:00:00Z": heads.AtTime(time.Date(2026, 10, 1, 6, 0, 0, 0, time.UTC)),
	} {
		if got, err := heads.ParseBound(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "-1", "1.5", "2026-13-01", "2026-10-01T06:00:00", "9223372036854775808"} {
		if got, err := heads.ParseBound(text); err == nil {
			t.Errorf("%q is parsed as %+v", text, got)
		}
	}
}
