package publisher_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/witnesstest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage/storagetest"
	"github.com/stele-log/stele/witness"
)

// TestWitnessesFindARollbackThatLeftNoTrace restores a backup of all that the
// server has: its database, and its record of what was signed.
func TestWitnessesFindARollbackThatLeftNoTrace(t *testing.T) {
	for _, c := range []struct {
		name  string
		grown int // what the restored log takes in before it signs
		says  string
	}{
		{"as it was", 0, "larger tree"},
		{"grown", 30, "not a part of ours"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rolledBackRig(t, c.grown)
			p, stop := r.start(t)
			defer stop()
			_, err := p.Wait(t.Context(), 1<<40)
			var refused *publisher.RefusalError
			var contradiction *witness.ContradictionError
			if !errors.As(err, &refused) || !errors.As(err, &contradiction) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want a refusal because of a witness that says %q", err, c.says)
			}
			r.expectUnpublished(t, p)
		})
	}
}

// TestRollbackThatWitnessesOnlyClaimIsNotPublished is the same where witnesses have no
// monitoring endpoint: nothing proves what they answer, and nothing meets the policy.
func TestRollbackThatWitnessesOnlyClaimIsNotPublished(t *testing.T) {
	for name, c := range map[string]struct {
		grown int
		says  string
	}{
		"as it was": {0, "larger tree"},
		"grown":     {30, "not a part of ours"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rolledBackRig(t, c.grown)
			for _, w := range r.w {
				w.Do(withoutMonitoring)
			}
			p, stop := r.start(t)
			defer stop()
			eventually(t, "the witnesses' answers are known", func() bool {
				return p.Stalled() != nil && p.Claims() != nil && strings.Contains(p.Stalled().Error(), c.says) &&
					metric(t, p, "stele_log_witness_unproven_claim") == 1
			})
			if err := p.Refusal(); err != nil {
				t.Errorf("it refuses without proof: %v", err)
			}
			r.expectUnpublished(t, p)
		})
	}
}

// rolledBackRig returns a log that was published up to size 20, and cosigned by all
// witnesses, restored to its first 10 entries with the record of then. It goes on
// otherwise.
func rolledBackRig(t *testing.T, grown int) *witnessedRig {
	t.Helper()
	r := newWitnessedRig(t, dbtest.SQLite(t)())
	quorum := r.config.Witnesses
	// Otherwise a witness that is late could know less than 20 entries.
	r.config.Witnesses.Policy = witnesstest.Policy(t, 3, r.w, r.config.VKeys...)
	p, stop := r.start(t)
	r.waitMet(t, p, r.grow(t, p, 10))
	backup, err := r.config.Record.Load()
	if err != nil {
		t.Fatal(err)
	}
	r.waitMet(t, p, r.grow(t, p, 10))
	stop()

	restored := newRig(t, dbtest.SQLite(t)())
	restored.config.Signers, restored.config.Verifiers = r.config.Signers, r.config.Verifiers
	restored.config.VKeys = r.config.VKeys
	restored.config.Witnesses, restored.config.Pool = quorum, r.config.Pool
	restored.restore(t, 10, grown)
	if err := restored.config.Record.Store(backup); err != nil {
		t.Fatal(err)
	}
	return &witnessedRig{restored, r.w, r.policy}
}

// expectUnpublished fails the test if anything of a restored log was published, or
// cosigned.
func (r *witnessedRig) expectUnpublished(t *testing.T, p *publisher.Publisher) {
	t.Helper()
	if last, err := p.Latest(); err == nil {
		t.Errorf("published %v", last)
	}
	for _, w := range r.w {
		if size := w.Size(t, origin); size != 20 {
			t.Errorf("a witness has cosigned size %d of the restored log", size)
		}
	}
}

func withoutMonitoring(w http.ResponseWriter, r *http.Request, honest http.Handler) {
	if r.Method == http.MethodGet {
		http.NotFound(w, r)
		return
	}
	honest.ServeHTTP(w, r)
}

func TestLyingWitnessDoesNotStopTheLog(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		p, _ := r.start(t)
		r.waitMet(t, p, r.grow(t, p, 10))
		r.w[1].Say(http.StatusConflict, "text/x.tlog.size", "999999999\n")
		for range 3 {
			r.waitMet(t, p, r.grow(t, p, 10))
		}
		head := r.grow(t, p, 10)
		eventually(t, "it is known what the witness claims", func() bool { return p.Claims() != nil })
		r.waitMet(t, p, head)
		if says := p.Claims().Error(); !strings.Contains(says, "w2") || !strings.Contains(says, "999999999") {
			t.Errorf("it says %q", says)
		}

		// Where the quorum needs it, it is as if it were dead.
		r.w[0].Kill()
		head = r.grow(t, p, 10)
		expectNothing(t, p, head.Size)
		if err := p.Refusal(); err != nil {
			t.Errorf("it refuses: %v", err)
		}
		r.w[1].Honest()
		r.waitMet(t, p, head)
		eventually(t, "the claim is forgotten", func() bool { return p.Claims() == nil })
	})
}

// TestAnotherServersPublicationIsNoContradiction has a server that is late ask
// for cosignatures after another has published more.
func TestAnotherServersPublicationIsNoContradiction(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		first, _ := r.start(t)
		r.waitMet(t, first, r.grow(t, first, 10))
		record, err := r.config.Record.Load()
		if err != nil {
			t.Fatal(err)
		}
		late := storagetest.Grow(t, r.log, 10)

		r.config.Record += ".other"
		if err := r.config.Record.Store(record); err != nil {
			t.Fatal(err)
		}
		second, _ := r.start(t)
		last := r.grow(t, second, 10)
		r.waitMet(t, second, last)
		asked := r.w[0].Asked()
		first.Committed(late)
		eventually(t, "the late server has asked a witness", func() bool { return r.w[0].Asked() > asked })
		time.Sleep(50 * time.Millisecond)
		if err := first.Refusal(); err != nil {
			t.Errorf("the late server refuses: %v", err)
		}
		if err := first.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.waitMet(t, first, last)
	})
}

// restore fills the log with the first entries that any rig's log has, and then
// with others.
func (r *rig) restore(t *testing.T, first, others int) {
	t.Helper()
	storagetest.Grow(t, r.log, first)
	if others == 0 {
		return
	}
	var f tree.Frontier
	storagetest.Batch(t, 0, &f, storagetest.Entries(0, first))
	lease, err := r.log.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	if err := r.log.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), &f, storagetest.Entries(1000, others))); err != nil {
		t.Fatal(err)
	}
}

// TestQuorumCountsAsTheRecordWhereNoneIs takes a log's record away.
func TestQuorumCountsAsTheRecordWhereNoneIs(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		for _, w := range r.w {
			w.Do(withoutMonitoring) // cosigning again is proof enough
		}
		p, stop := r.start(t)
		head := r.grow(t, p, 10)
		r.waitMet(t, p, head)
		stop()
		if err := os.Remove(string(r.config.Record)); err != nil {
			t.Fatal(err)
		}
		storagetest.Grow(t, r.log, 5)
		r.w[0].Kill()
		r.w[1].Kill()
		p, err := publisher.New(t.Context(), r.config)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Prove(t.Context(), head)
		if err == nil || p.Refusal() != nil || !strings.Contains(err.Error(), "missing: w1, w2") {
			t.Fatalf("without a quorum: %v, refusal %v; want that it may be tried again", err, p.Refusal())
		}
		if msg, err := r.config.Record.Load(); msg != nil || err != nil {
			t.Fatalf("on record is %q, %v", msg, err)
		}
		r.w[0].Do(withoutMonitoring)
		time.Sleep(20 * time.Millisecond) // the longest back-off
		p, _ = r.start(t)
		r.waitMet(t, p, r.grow(t, p, 5))
	})
}

func TestQuorumDoesNotConfirmARollbackWithoutARecord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, says string
		restored   int // entries
	}{
		{"rolled back", "rolled back or restored", 10},
		// A crash lets witnesses know more than is published: that is no rollback.
		{"one checkpoint behind", "", 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newWitnessedRig(t, dbtest.SQLite(t)())
			r.config.Witnesses.Policy = witnesstest.Policy(t, 3, r.w, r.config.VKeys...)
			p, stop := r.start(t)
			r.waitMet(t, p, r.grow(t, p, 10))
			last, err := r.log.LastCheckpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			old, err := r.log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			head := r.grow(t, p, 10)
			r.waitMet(t, p, head)
			stop()
			if err := os.Remove(string(r.config.Record)); err != nil {
				t.Fatal(err)
			}
			if c.restored == 10 {
				head = old.Head
			}
			r.config.Log = published{history{r.log, head}, last}
			if p, err = publisher.New(t.Context(), r.config); err != nil {
				t.Fatal(err)
			}
			err = p.Prove(t.Context(), head)
			if c.says == "" && err != nil || c.says != "" && (p.Refusal() == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("proven: %v, refusal %v", err, p.Refusal())
			}
			// In either case the larger checkpoint, which the log has signed, is on record.
			if msg, err := r.config.Record.Load(); err != nil || !strings.HasPrefix(string(msg), origin+"\n20\n") {
				t.Errorf("on record is %q, %v", msg, err)
			}
		})
	}
}

func TestMissingRecordIsRefusedWhereNoQuorumEverCosigned(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		with := r.config.Witnesses
		r.config.Witnesses = publisher.Witnessing{}
		p, stop := r.start(t)
		r.wait(t, p, r.grow(t, p, 10).Size)
		stop()
		if err := os.Remove(string(r.config.Record)); err != nil {
			t.Fatal(err)
		}
		r.config.Witnesses = with // they know nothing, and would confirm anything
		r.expectRefusalOnly(t, "is missing")
	})
}
