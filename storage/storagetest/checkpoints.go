package storagetest

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stele-log/stele/storage"
)

// testCheckpoints: checkpoints are numbered from 0 without gaps, so AddCheckpoint is a
// compare-and-swap on the last number, and each is of a head that was committed. Two may
// be of one size. Notes come back byte for byte, times to the microsecond and in UTC, and
// any page of checkpoints in order.
func testCheckpoints(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	Grow(t, l, 10, 10)
	var want []storage.Checkpoint
	for number, size := range []uint64{0, 10, 10, 20} {
		want = append(want, addCheckpoint(t, l, uint64(number), size))
	}
	for name, test := range map[string]struct {
		number, size uint64
		err          error
	}{
		"again":                   {3, 20, storage.ErrStale},
		"from the start":          {0, 20, storage.ErrStale},
		"with a gap":              {5, 20, storage.ErrStale},
		"far ahead":               {1 << 40, 20, storage.ErrStale},
		"of no head":              {4, 15, storage.ErrNotFound},
		"of a head still to come": {4, 21, storage.ErrNotFound},
	} {
		err := l.AddCheckpoint(t.Context(), storage.Checkpoint{
			Number: test.number, Size: test.size, Note: []byte("refused"), Published: time.Now(),
		})
		wantError(t, "store a checkpoint "+name, err, test.err)
	}
	last, err := l.LastCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantCheckpoints(t, []storage.Checkpoint{last}, want[3:])
	for _, page := range []struct {
		first uint64
		limit int
		want  []storage.Checkpoint
	}{
		{0, 100, want},
		{0, 2, want[:2]},
		{2, 2, want[2:]},
		{3, 100, want[3:]},
		{4, 100, nil},
		{0, 0, nil},
		{math.MaxUint64, 100, nil},
	} {
		got, err := l.Checkpoints(t.Context(), page.first, page.limit)
		if err != nil {
			t.Fatal(err)
		}
		wantCheckpoints(t, got, page.want)
	}
}

// testCheckpointRace: of those that store a checkpoint of one number at once, one
// succeeds and the others get ErrStale; the note that is kept is the winner's. So two
// publishers cannot each believe that theirs is the history.
func testCheckpointRace(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	for number := range uint64(3) {
		errs := race(8, func(i int) error {
			return l.AddCheckpoint(t.Context(), storage.Checkpoint{
				Number: number, Note: fmt.Append(nil, i), Published: time.Now(),
			})
		})
		winner := wantOneWinner(t, errs, storage.ErrStale)
		c, err := l.LastCheckpoint(t.Context())
		if err != nil || c.Number != number || string(c.Note) != fmt.Sprint(winner) {
			t.Fatalf("last checkpoint %v, error %v; want the winner's, %d", c, err, winner)
		}
	}
}

// addCheckpoint stores a checkpoint and returns it as it should be read back.
func addCheckpoint(t *testing.T, l storage.Log, number, size uint64) storage.Checkpoint {
	t.Helper()
	c := storage.Checkpoint{
		Number:    number,
		Size:      size,
		Note:      bytes.Repeat(fmt.Appendf(nil, "note %d\n", number), 8000),
		Published: time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", 3600)).Add(time.Duration(number)),
	}
	if err := l.AddCheckpoint(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Published = c.Published.UTC().Truncate(time.Microsecond)
	return c
}

// wantCheckpoints compares all that a checkpoint is. Times are compared with their
// location, so that one that is not UTC fails.
func wantCheckpoints(t *testing.T, got, want []storage.Checkpoint) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d checkpoints, want %d", len(got), len(want))
	}
	for i, c := range got {
		if c.Number != want[i].Number || c.Size != want[i].Size ||
			!bytes.Equal(c.Note, want[i].Note) || c.Published != want[i].Published {
			t.Errorf("checkpoint %d of size %d and %d bytes at %v, want %d of size %d and %d bytes at %v",
				c.Number, c.Size, len(c.Note), c.Published,
				want[i].Number, want[i].Size, len(want[i].Note), want[i].Published)
		}
	}
}
