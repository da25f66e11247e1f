package publisher_test

import (
	"context"
	"crypto/rand"
	"errors"
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

// start runs a publisher until stop, or the end of the test. As by a sequencer, it is
// made to prove the log's head and, if it can, told of it.
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
	var refused *publisher.RefusalError
	switch err := p.Prove(t.Context(), head.Head); {
	case err == nil:
		p.Committed(head.Head)
	case !errors.As(err, &refused):
		t.Fatal(err)
	}
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
		if err := p.Failing(); err == nil || !strings.Contains(err.Error(), "record") {
			t.Errorf("it is said to fail with %v", err)
		}
		if err := os.Remove(string(r.config.Record) + ".tmp"); err != nil {
			t.Fatal(err)
		}
		if got := r.wait(t, p, head.Size); got != head || p.Failing() != nil {
			t.Fatalf("published %v, want %v; it is said to fail with %v", got, head, p.Failing())
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
