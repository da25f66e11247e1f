package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/restore"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A record is one in memory.
type record struct {
	msg       []byte
	published storage.Checkpoint
}

func (r *record) Load() ([]byte, error)  { return r.msg, nil }
func (r *record) Store(msg []byte) error { r.msg = msg; return nil }

func (r *record) StorePublished(c storage.Checkpoint) error { r.published = c; return nil }

func restoreConfig(t *testing.T, l *memlog.Log, store storage.Store, archive io.ReadSeeker) restore.Config {
	t.Helper()
	v, err := checkpoint.NewVerifier(l.Policy.Logs()[0].VKey)
	if err != nil {
		t.Fatal(err)
	}
	return restore.Config{
		Copy: l, Policy: l.Policy, Store: store, Name: "one", Keys: []note.Verifier{v}, Record: &record{},
		Heads: archive, Now: time.Now, Progress: func(string, uint64, uint64) {},
		OpenHeads: func(_ context.Context, l storage.Log) (storage.Log, error) {
			return headmac.Open(l, headmac.Key{}), nil
		},
	}
}

// archive returns an archive of the log's heads of some sizes.
func archive(t *testing.T, l *memlog.Log, sizes ...uint64) io.ReadSeeker {
	t.Helper()
	var b bytes.Buffer
	w, err := heads.NewWriter(&b, l.Policy)
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range sizes {
		c := heads.Checkpoint{Number: uint64(i), Published: time.Unix(int64(1000+i), 0), Note: l.Note(t, size)}
		c.Proof, err = proof.Consistency(t.Context(), tree.TileNodes(l, l.Size), sizes[max(i, 1)-1], size)
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
func wantRestored(t *testing.T, l *memlog.Log, store storage.Store, checkpoints int) {
	t.Helper()
	stored, err := store.OpenLog(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	head, err := stored.Head(t.Context())
	if err != nil || head.Head != l.Head(l.Size) {
		t.Fatalf("the log has %v, %v; want %v", head, err, l.Head(l.Size))
	}
	history, err := stored.Checkpoints(t.Context(), 0, 1000)
	if err != nil || len(history) != checkpoints {
		t.Fatalf("the log has %d checkpoints, %v; want %d", len(history), err, checkpoints)
	}
	o := client.CheckOptions{History: storage.History(t.Context(), stored)}
	r := storage.NewReader(stored, storage.NewCache(1<<20))
	if report, err := client.Check(t.Context(), r, l.Policy, o); err != nil || report.Past != uint64(checkpoints) {
		t.Fatalf("the log is not whole: %v, %d checkpoints agree", err, report.Past)
	}
}

var errFault = errors.New("the database failed")

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
	l := memlog.New(t, 20000, memlog.NoFork)
	sizes := []uint64{0, 0, 1, 255, 300, 300, 19999}
	for _, history := range []bool{false, true} {
		for at := 1; ; at++ {
			open := dbtest.SQLite(t)
			var heads io.ReadSeeker
			want := 1
			if history {
				heads, want = archive(t, l, sizes...), len(sizes)+1
			}
			store := &stopping{Store: open(), at: at, done: at%2 == 0}
			cfg := restoreConfig(t, l, store, heads)
			_, err := restore.Run(t.Context(), cfg)
			if err == nil {
				t.Logf("%d steps", at-1)
				break
			}
			if !errors.Is(err, errFault) {
				t.Fatalf("step %d: %v", at, err)
			}
			if !bytes.Equal(cfg.Record.(*record).msg, l.Note(t, l.Size)) {
				t.Fatalf("step %d: the record does not keep the log from being signed", at)
			}
			cfg.Store = store.Store
			if _, err := restore.Run(t.Context(), cfg); err != nil {
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
		l, store := memlog.New(t, 70000, memlog.NoFork), open()
		cfg := restoreConfig(t, l, store, archive(t, l, 5, 66000))
		r, err := restore.Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if p := cfg.Record.(*record).published; p.Number != 2 || !bytes.Equal(p.Note, l.Note(t, 70000)) {
			t.Errorf("on record as published is number %d: %s", p.Number, p.Note)
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
	l := memlog.New(t, 1000, memlog.NoFork)
	l.Size = 600
	if _, err := restore.Run(t.Context(), restoreConfig(t, l, store, nil)); err != nil {
		t.Fatal(err)
	}
	forked := memlog.New(t, 1000, 599)
	if _, err := restore.Run(t.Context(), restoreConfig(t, forked, store, nil)); err == nil || !strings.Contains(err.Error(), "the copy does not continue it") {
		t.Errorf("another history: %v", err)
	}
	l.Size = 1000
	r, err := restore.Run(t.Context(), restoreConfig(t, l, store, nil))
	if err != nil || r.Added != 400 || r.Checkpoints != 2 {
		t.Fatalf("restored is %+v, %v", r, err)
	}
	wantRestored(t, l, store, 2)
	l.Size = 999
	if _, err := restore.Run(t.Context(), restoreConfig(t, l, store, nil)); err == nil || !strings.Contains(err.Error(), "has 1000 entries; the copy has 999") {
		t.Errorf("a copy that is behind: %v", err)
	}
}

func TestRestoreChangesNothingUnlessAllFits(t *testing.T) {
	t.Parallel()
	l := memlog.New(t, 600, memlog.NoFork)
	_, other, err := checkpoint.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 32)), memlog.Origin)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := checkpoint.NewVerifier(other)
	if err != nil {
		t.Fatal(err)
	}
	signed := memlog.New(t, 900, memlog.NoFork)
	cases := []struct {
		name   string
		change func(*restore.Config)
		want   string
	}{
		{"the log has signed more", func(c *restore.Config) { c.Record = &record{msg: signed.Note(t, 601)} }, "Find a copy with at least 601 entries"},
		{"the log has signed another history", func(c *restore.Config) { c.Record = &record{msg: memlog.New(t, 600, 500).Note(t, 600)} }, "does not continue what the log has signed"},
		{"and a shorter one", func(c *restore.Config) { c.Record = &record{msg: memlog.New(t, 600, 500).Note(t, 550)} }, "does not continue what the log has signed"},
		{"the record is damaged", func(c *restore.Config) { c.Record = &record{msg: []byte("x")} }, "what was signed last"},
		{"another signing key", func(c *restore.Config) { c.Keys = []note.Verifier{stranger} }, "the signing key is not the one"},
		{"an archive that begins later", func(c *restore.Config) {
			text, _ := io.ReadAll(archive(t, l, 5))
			c.Heads = strings.NewReader(strings.Replace(string(text), "checkpoint 0 ", "checkpoint 1 ", 1))
		}, "it begins with checkpoint 1"},
		{"an archive that goes on", func(c *restore.Config) { c.Heads = archive(t, signed, 5, 601) }, "the copy lacks entries"},
		{"an archive of another history", func(c *restore.Config) { c.Heads = archive(t, memlog.New(t, 600, 100), 5, 200) }, "checkpoint 1"},
		{"a copy that is not whole", func(c *restore.Config) {
			bad := memlog.New(t, 600, memlog.NoFork)
			bad.Change = func(t tile.Tile, data []byte) []byte {
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
		_, err := restore.Run(t.Context(), cfg)
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
