package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// history returns the log as it was at a size, for a database that was rolled
// back to it.
type history struct {
	storage.Log
	head tree.Head
}

func (h history) Head(context.Context) (storage.CommittedHead, error) {
	return storage.CommittedHead{Head: h.head}, nil
}

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

		r.log = published{history{r.log, old}, last}
		r.expectRefusal(t, "rolled back")
	})
}

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

// A standby that takes over has an old record. What the other server has published
// since then was signed as well.
func TestForkOfWhatAnotherServerPublishedIsNotSigned(t *testing.T) {
	t.Parallel()
	other := newRig(t, dbtest.SQLite(t)())
	p, stop := other.start(t)
	other.wait(t, p, other.grow(t, p, 10).Size)
	old, err := other.config.Record.Load()
	if err != nil {
		t.Fatal(err)
	}
	other.wait(t, p, other.grow(t, p, 10).Size)
	last, err := other.log.LastCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()

	r := newRig(t, dbtest.SQLite(t)())
	r.config.Signers, r.config.Verifiers = other.config.Signers, other.config.Verifiers
	r.restore(t, 10, 20)
	if err := r.config.Record.Store(old); err != nil {
		t.Fatal(err)
	}
	r.log = published{r.log, last}
	r.expectRefusal(t, "not the one that was signed")
}

// published is a log with another newest checkpoint.
type published struct {
	storage.Log
	last storage.Checkpoint
}

func (p published) LastCheckpoint(context.Context) (storage.Checkpoint, error) { return p.last, nil }

func (p published) Checkpoints(_ context.Context, first uint64, _ int) ([]storage.Checkpoint, error) {
	if first > p.last.Number {
		return nil, nil
	}
	return []storage.Checkpoint{p.last}, nil
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
	var told []error
	r.config.Refused = func(err error) { told = append(told, err) }
	p, stop := r.start(t)
	defer stop()
	_, err = p.Wait(t.Context(), 1<<40)
	var refused *publisher.RefusalError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), reason) {
		t.Fatalf("got %v, want a refusal that says %q", err, reason)
	}
	if p.Refusal() != err || p.Prove(t.Context(), tree.Empty()) != err || len(told) != 1 || told[0] != err {
		t.Errorf("Refusal is %v, and %v was told, want once %v", p.Refusal(), told, err)
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
