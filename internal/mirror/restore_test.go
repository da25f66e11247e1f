package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/dbtest"
	"github.com/stele-log/stele/internal/mirror"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A record is one in memory.
type record struct{ msg []byte }

func (r *record) Load() ([]byte, error)  { return r.msg, nil }
func (r *record) Store(msg []byte) error { r.msg = msg; return nil }

func restoreConfig(t *testing.T, l *log, store storage.Store, archive io.ReadSeeker) mirror.RestoreConfig {
	t.Helper()
	v, err := checkpoint.NewVerifier(l.policy.Logs()[0].VKey)
	if err != nil {
		t.Fatal(err)
	}
	return mirror.RestoreConfig{
		Copy: l, Policy: l.policy, Store: store, Name: "one", Keys: []note.Verifier{v}, Record: &record{},
		Heads: archive, Now: time.Now, Progress: func(string, uint64, uint64) {},
	}
}

// archive returns an archive of the log's heads of some sizes.
func (l *log) archive(t *testing.T, sizes ...uint64) io.ReadSeeker {
	t.Helper()
	var b bytes.Buffer
	w, err := heads.NewWriter(&b, l.policy)
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range sizes {
		c := heads.Checkpoint{Number: uint64(i), Published: time.Unix(int64(1000+i), 0), Note: l.note(t, size)}
		c.Proof, err = proof.Consistency(t.Context(), tree.TileNodes(l, l.size), sizes[max(i, 1)-1], size)
		if err == nil {
			err = w.Add(c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

// wantRestored fails the test unless the log in the store is l, with as many
// checkpoints.
func wantRestored(t *testing.T, l *log, store storage.Store, checkpoints int) {
	t.Helper()
	stored, err := store.OpenLog(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	head, err := stored.Head(t.Context())
	if err != nil || head != l.head(l.size) {
		t.Fatalf("the log has %v, %v; want %v", head, err, l.head(l.size))
	}
	history, err := stored.Checkpoints(t.Context(), 0, 1000)
	if err != nil || len(history) != checkpoints {
		t.Fatalf("the log has %d checkpoints, %v; want %d", len(history), err, checkpoints)
	}
	o := client.CheckOptions{History: func(yield func(client.PastCheckpoint, error) bool) {
		for _, c := range history {
			if !yield(client.PastCheckpoint{Number: c.Number, Note: c.Note}, nil) {
				return
			}
		}
	}}
	r := storage.NewReader(stored, storage.NewCache(1<<20))
	if report, err := client.Check(t.Context(), r, l.policy, o); err != nil || report.Past != uint64(checkpoints) {
		t.Fatalf("the log is not whole: %v, %d checkpoints agree", err, report.Past)
	}
}

// A stopping store fails at one of the steps that change a log, and at each
// after it.
type stopping struct {
	storage.Store
	steps, at int
	done      bool // the step that fails is done all the same
}

func (s *stopping) CreateLog(ctx context.Context, name, origin string) (l storage.Log, err error) {
	err = s.step(func() error {
		l, err = s.Store.CreateLog(ctx, name, origin)
		return err
	})
	return &stoppingLog{l, s}, err
}

func (s *stopping) OpenLog(ctx context.Context, name string) (storage.Log, error) {
	l, err := s.Store.OpenLog(ctx, name)
	return &stoppingLog{l, s}, err
}

func (s *stopping) step(do func() error) error {
	s.steps++
	if s.at == 0 || s.steps < s.at {
		return do()
	}
	if s.steps == s.at && s.done {
		if err := do(); err != nil {
			return err
		}
	}
	return errFault
}

type stoppingLog struct {
	storage.Log
	store *stopping
}

func (l *stoppingLog) Commit(ctx context.Context, b storage.Batch) error {
	return l.store.step(func() error { return l.Log.Commit(ctx, b) })
}

func (l *stoppingLog) AddCheckpoint(ctx context.Context, c storage.Checkpoint) error {
	return l.store.step(func() error { return l.Log.AddCheckpoint(ctx, c) })
}

// TestRestoreCanBeStoppedAtEachStep stops a restore at each step, and has the
// next one end it.
func TestRestoreCanBeStoppedAtEachStep(t *testing.T) {
	t.Parallel()
	l := newLog(t, 20000, noFork)
	sizes := []uint64{0, 0, 1, 255, 300, 300, 19999}
	for _, history := range []bool{false, true} {
		for at := 1; ; at++ {
			open := dbtest.SQLite(t)
			var archive io.ReadSeeker
			want := 1
			if history {
				archive, want = l.archive(t, sizes...), len(sizes)+1
			}
			store := &stopping{Store: open(), at: at, done: at%2 == 0}
			cfg := restoreConfig(t, l, store, archive)
			_, err := mirror.Restore(t.Context(), cfg)
			if err == nil {
				t.Logf("%d steps", at-1)
				break
			}
			if !errors.Is(err, errFault) {
				t.Fatalf("step %d: %v", at, err)
			}
			if !bytes.Equal(cfg.Record.(*record).msg, l.note(t, l.size)) {
				t.Fatalf("step %d: the record does not keep the log from being signed", at)
			}
			cfg.Store = store.Store
			if _, err := mirror.Restore(t.Context(), cfg); err != nil {
				t.Fatalf("step %d: restored again: %v", at, err)
			}
			wantRestored(t, l, store.Store, want)
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRestoreOnBothDatabases(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l, store := newLog(t, 70000, noFork), open()
		r, err := mirror.Restore(t.Context(), restoreConfig(t, l, store, l.archive(t, 5, 66000)))
		if err != nil {
			t.Fatal(err)
		}
		if r.Added != 70000 || r.Checkpoints != 3 || !r.NoRecord {
			t.Errorf("restored is %+v", r)
		}
		wantRestored(t, l, store, 3)
	})
}

// A log that is there is brought forward if it is the beginning of the copy.
func TestRolledBackLogIsBroughtForward(t *testing.T) {
	t.Parallel()
	store := dbtest.SQLite(t)()
	l := newLog(t, 1000, noFork)
	l.size = 600
	if _, err := mirror.Restore(t.Context(), restoreConfig(t, l, store, nil)); err != nil {
		t.Fatal(err)
	}
	forked := newLog(t, 1000, 599)
	if _, err := mirror.Restore(t.Context(), restoreConfig(t, forked, store, nil)); err == nil || !strings.Contains(err.Error(), "the copy does not continue it") {
		t.Errorf("another history: %v", err)
	}
	l.size = 1000
	r, err := mirror.Restore(t.Context(), restoreConfig(t, l, store, nil))
	if err != nil || r.Added != 400 || r.Checkpoints != 2 {
		t.Fatalf("restored is %+v, %v", r, err)
	}
	wantRestored(t, l, store, 2)
	l.size = 999
	if _, err := mirror.Restore(t.Context(), restoreConfig(t, l, store, nil)); err == nil || !strings.Contains(err.Error(), "has 1000 entries; the copy has 999") {
		t.Errorf("a copy that is behind: %v", err)
	}
}

func TestRestoreChangesNothingUnlessAllFits(t *testing.T) {
	t.Parallel()
	l := newLog(t, 600, noFork)
	_, other, err := checkpoint.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := checkpoint.NewVerifier(other)
	if err != nil {
		t.Fatal(err)
	}
	signed := newLog(t, 900, noFork)
	cases := []struct {
		name   string
		change func(*mirror.RestoreConfig)
		want   string
	}{
		{"the log has signed more", func(c *mirror.RestoreConfig) { c.Record = &record{signed.note(t, 601)} }, "Find a copy with at least 601 entries"},
		{"the log has signed another history", func(c *mirror.RestoreConfig) { c.Record = &record{newLog(t, 600, 500).note(t, 600)} }, "does not continue what the log has signed"},
		{"and a shorter one", func(c *mirror.RestoreConfig) { c.Record = &record{newLog(t, 600, 500).note(t, 550)} }, "does not continue what the log has signed"},
		{"the record is damaged", func(c *mirror.RestoreConfig) { c.Record = &record{[]byte("x")} }, "what was signed last"},
		{"another signing key", func(c *mirror.RestoreConfig) { c.Keys = []note.Verifier{stranger} }, "the signing key is not the one"},
		{"an archive that begins later", func(c *mirror.RestoreConfig) {
			text, _ := io.ReadAll(l.archive(t, 5))
			c.Heads = strings.NewReader(strings.Replace(string(text), "checkpoint 0 ", "checkpoint 1 ", 1))
		}, "it begins with checkpoint 1"},
		{"an archive that goes on", func(c *mirror.RestoreConfig) { c.Heads = signed.archive(t, 5, 601) }, "the copy lacks entries"},
		{"an archive of another history", func(c *mirror.RestoreConfig) { c.Heads = newLog(t, 600, 100).archive(t, 5, 200) }, "checkpoint 1"},
		{"a copy that is not whole", func(c *mirror.RestoreConfig) {
			bad := newLog(t, 600, noFork)
			bad.change = func(t tile.Tile, data []byte) []byte {
				if t.Path() == "tile/entries/001" {
					data[30] ^= 1
				}
				return data
			}
			c.Copy = bad
		}, "the copy is not whole"},
	}
	store := dbtest.SQLite(t)()
	for _, c := range cases {
		cfg := restoreConfig(t, l, store, nil)
		c.change(&cfg)
		before := *cfg.Record.(*record)
		_, err := mirror.Restore(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", c.name, err, c.want)
		}
		if logs, err := store.Logs(t.Context()); err != nil || len(logs) > 0 {
			t.Errorf("%s: there are logs %v, %v", c.name, logs, err)
		}
		if !bytes.Equal(before.msg, cfg.Record.(*record).msg) {
			t.Errorf("%s: the record was changed", c.name)
		}
	}
}
