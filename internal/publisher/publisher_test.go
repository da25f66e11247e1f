package publisher_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

const origin = "example.com/test"

// A rig is a log, a key and a record to publish with.
type rig struct {
	log    storage.Log
	config publisher.Config
}

func newRig(t *testing.T, store storage.Store) *rig {
	t.Helper()
	l, err := store.CreateLog(t.Context(), "test", origin)
	if err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := checkpoint.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := checkpoint.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{l, publisher.Config{
		Log: l, Nodes: storage.NewReader(l, storage.NewCache(0)),
		Record: publisher.Record(filepath.Join(t.TempDir(), "signed")),
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, Interval: time.Millisecond,
		Signers: []note.Signer{signer}, Verifiers: []note.Verifier{verifier},
	}}
}

// start runs a publisher until stop, or the end of the test. It is told of the
// log's head.
func (r *rig) start(t *testing.T) (p *publisher.Publisher, stop func()) {
	t.Helper()
	p, err := publisher.New(t.Context(), r.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	head, err := r.log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Committed(head)
	return p, stop
}

// grow appends entries and tells the publisher.
func (r *rig) grow(t *testing.T, p *publisher.Publisher, n int) tree.Head {
	t.Helper()
	head := storagetest.Grow(t, r.log, n)
	p.Committed(head)
	return head
}

// wait waits for a checkpoint of the size and opens it.
func (r *rig) wait(t *testing.T, p *publisher.Publisher, size uint64) tree.Head {
	t.Helper()
	published, err := p.Wait(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := checkpoint.Open(published.Note, origin, r.config.Verifiers...)
	if err != nil {
		t.Fatal(err)
	}
	if c.Head != published.Head {
		t.Fatalf("published %v, the note signs %v", published.Head, c.Head)
	}
	return c.Head
}

func each(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) { test(t, newRig(t, open())) })
}

func TestHeadsArePublishedAndKept(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		p, stop := r.start(t)
		want := []tree.Head{r.wait(t, p, 0)}
		if want[0] != tree.Empty() {
			t.Fatalf("a log without entries has %v published", want[0])
		}
		for _, n := range []int{1, 255, 1, 300} {
			head := r.grow(t, p, n)
			want = append(want, head)
			if got := r.wait(t, p, head.Size); got != head {
				t.Fatalf("published %v, want %v", got, head)
			}
		}
		stop()
		r.checkHistory(t, want)

		p, _ = r.start(t)
		last, err := p.Latest()
		if err != nil || last.Head != want[len(want)-1] {
			t.Fatalf("after a restart: %v, %v", last, err)
		}
		head := r.grow(t, p, 5)
		r.wait(t, p, head.Size)
		r.checkHistory(t, append(want, head))
	})
}

// checkHistory fails the test unless the stored checkpoints sign those heads.
func (r *rig) checkHistory(t *testing.T, want []tree.Head) {
	t.Helper()
	stored, err := r.log.Checkpoints(t.Context(), 0, 100)
	if err != nil || len(stored) != len(want) {
		t.Fatalf("%d checkpoints are stored, %v, want %d", len(stored), err, len(want))
	}
	for i, s := range stored {
		c, _, err := checkpoint.Open(s.Note, origin, r.config.Verifiers...)
		if err != nil || c.Head != want[i] || s.Number != uint64(i) {
			t.Errorf("checkpoint %d is number %d and signs %v, %v, want %v", i, s.Number, c.Head, err, want[i])
		}
	}
}

func TestNobodyWaitsLongerThanForTheSignature(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.config.Interval = 24 * time.Hour
		p, _ := r.start(t)
		r.wait(t, p, 0)
		first := r.grow(t, p, 10)
		second := r.grow(t, p, 10)
		// Were it not for the wait, nothing would be published before tomorrow.
		if got := r.wait(t, p, first.Size); got != second {
			t.Errorf("published %v, want the newest head, %v", got, second)
		}
		r.grow(t, p, 10)
		if last, err := p.Latest(); err != nil || last.Head != second {
			t.Errorf("published %v, %v though nobody waits", last, err)
		}
	})
}

// history returns the log as it was at a size, for a database that was rolled
// back to it.
type history struct {
	storage.Log
	head tree.Head
}

func (h history) Head(context.Context) (tree.Head, error) { return h.head, nil }

func TestRolledBackLogIsNotSigned(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		p, stop := r.start(t)
		old := r.grow(t, p, 10)
		r.wait(t, p, old.Size)
		r.wait(t, p, r.grow(t, p, 10).Size)
		stop()

		r.log = history{r.log, old}
		r.expectRefusal(t, "rolled back")
	})
}

// A database may be rolled back to where all in it fits, the newest checkpoint
// included. The record knows better, before anything is to be signed.
func TestRolledBackDatabaseThatFitsItsCheckpointIsNoticedAtTheStart(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		p, stop := r.start(t)
		old := r.grow(t, p, 10)
		r.wait(t, p, old.Size)
		last, err := r.log.LastCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.wait(t, p, r.grow(t, p, 10).Size)
		stop()

		r.log = rolledBack{history{r.log, old}, last}
		r.expectRefusal(t, "rolled back")
	})
}

type rolledBack struct {
	history
	last storage.Checkpoint
}

func (r rolledBack) LastCheckpoint(context.Context) (storage.Checkpoint, error) { return r.last, nil }

func TestForkedLogIsNotSigned(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		for _, grown := range []int{20, 21} { // a fork at the same size, and a longer one
			r := newRig(t, dbtest.SQLite(t)())
			p, stop := r.start(t)
			r.wait(t, p, r.grow(t, p, 20).Size)
			stop()
			// The same record, another history: its entries begin at another index.
			other, err := store.CreateLog(t.Context(), fmt.Sprint("other-", grown), fmt.Sprint(origin, grown))
			if err != nil {
				t.Fatal(err)
			}
			lease, err := other.Lead(t.Context(), "http://here")
			if err != nil {
				t.Fatal(err)
			}
			var f tree.Frontier
			if err := other.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), &f, storagetest.Entries(1000, grown))); err != nil {
				t.Fatal(err)
			}
			lease.Release()
			r.log = renamed{other}
			r.config.Log, r.config.Nodes = r.log, storage.NewReader(r.log, storage.NewCache(0))
			r.expectRefusal(t, "not the one that was signed")
		}
	})
}

// renamed is a log that claims the tests' origin.
type renamed struct{ storage.Log }

func (renamed) Info() storage.Info { return storage.Info{Name: "test", Origin: origin} }

// expectRefusal starts a publisher and fails the test unless it refuses to sign,
// for that reason, and stores nothing.
func (r *rig) expectRefusal(t *testing.T, reason string) {
	t.Helper()
	before, err := r.config.Record.Load()
	if err != nil {
		t.Fatal(err)
	}
	r.config.Log = r.log
	p, stop := r.start(t)
	defer stop()
	_, err = p.Wait(t.Context(), 1<<40)
	var refused *publisher.RefusalError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), reason) {
		t.Fatalf("got %v, want a refusal that says %q", err, reason)
	}
	if p.Refusal() == nil {
		t.Error("Refusal says nothing")
	}
	if after, err := r.config.Record.Load(); err != nil || string(after) != string(before) {
		t.Errorf("the record has changed: %v", err)
	}
}

func TestMissingOrForeignRecordIsRefused(t *testing.T) {
	records := []struct {
		name, reason string
		change       func(t *testing.T, file string)
	}{
		{"missing", "is missing", func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}},
		{"changed by one byte", "records what was signed last", func(t *testing.T, file string) {
			msg, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			msg[len(origin)+1] ^= 1
			if err := os.WriteFile(file, msg, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, c := range records {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				p, stop := r.start(t)
				r.wait(t, p, r.grow(t, p, 10).Size)
				stop()
				storagetest.Grow(t, r.log, 5)
				c.change(t, string(r.config.Record))
				r.expectRefusalOnly(t, c.reason)
			})
		})
	}
}

func (r *rig) expectRefusalOnly(t *testing.T, reason string) {
	t.Helper()
	p, stop := r.start(t)
	defer stop()
	if _, err := p.Wait(t.Context(), 1<<40); err == nil || !strings.Contains(err.Error(), reason) {
		t.Fatalf("got %v, want a refusal that says %q", err, reason)
	}
}

// A faulty is a real log that fails to store a checkpoint now and then.
type faulty struct {
	storage.Log
	calls atomic.Int64
	fault func(l storage.Log, ctx context.Context, c storage.Checkpoint) error
}

var errInjected = errors.New("injected fault")

func (f *faulty) AddCheckpoint(ctx context.Context, c storage.Checkpoint) error {
	if f.calls.Add(1)%2 == 1 {
		return f.fault(f.Log, ctx, c)
	}
	return f.Log.AddCheckpoint(ctx, c)
}

func TestCheckpointIsStoredDespiteFaults(t *testing.T) {
	faults := []struct {
		name  string
		fault func(l storage.Log, ctx context.Context, c storage.Checkpoint) error
	}{
		{"failed", func(storage.Log, context.Context, storage.Checkpoint) error { return errInjected }},
		{"failed but persisted", func(l storage.Log, ctx context.Context, c storage.Checkpoint) error {
			return errors.Join(l.AddCheckpoint(ctx, c), errInjected)
		}},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				real := r.log
				r.config.Log = &faulty{Log: real, fault: f.fault}
				p, stop := r.start(t)
				for range 5 {
					head := r.grow(t, p, 10)
					if got := r.wait(t, p, head.Size); got != head {
						t.Fatalf("published %v, want %v", got, head)
					}
				}
				stop()
				stored, err := real.Checkpoints(t.Context(), 0, 100)
				if err != nil {
					t.Fatal(err)
				}
				for i, s := range stored {
					if s.Number != uint64(i) {
						t.Errorf("checkpoint %d has number %d", i, s.Number)
					}
				}
				if last := stored[len(stored)-1]; last.Size != 50 {
					t.Errorf("the newest stored checkpoint has size %d, want 50", last.Size)
				}
			})
		})
	}
}

func TestRecordThatCannotBeWrittenStopsPublication(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		p, _ := r.start(t)
		r.wait(t, p, 0)
		// A folder in the place of the temporary file.
		if err := os.Mkdir(string(r.config.Record)+".tmp", 0o700); err != nil {
			t.Fatal(err)
		}
		head := r.grow(t, p, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.Wait(ctx, head.Size); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, though what was signed cannot be recorded", err)
		}
		if err := os.Remove(string(r.config.Record) + ".tmp"); err != nil {
			t.Fatal(err)
		}
		if got := r.wait(t, p, head.Size); got != head {
			t.Fatalf("published %v, want %v", got, head)
		}
	})
}

func TestRecordHoldsWhatWasSignedLast(t *testing.T) {
	t.Parallel()
	r := publisher.Record(filepath.Join(t.TempDir(), "signed"))
	if msg, err := r.Load(); msg != nil || err != nil {
		t.Fatalf("without a file: %q, %v", msg, err)
	}
	for _, want := range []string{"one", "a longer one", "two"} {
		if err := r.Store([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Load(); string(got) != want || err != nil {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	if info, err := os.Stat(string(r)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v, want 0600", info.Mode(), err)
	}
}
