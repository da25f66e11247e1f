package publisher_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/witnesstest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
	"github.com/stele-log/stele/witness"
)

// A witnessedRig is a rig whose checkpoints must be cosigned by two of three
// witnesses.
type witnessedRig struct {
	*rig
	w      []*witnesstest.Witness
	policy *policy.Policy
}

func eachWitnessed(t *testing.T, test func(t *testing.T, r *witnessedRig)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) { test(t, newWitnessedRig(t, open())) })
}

func newWitnessedRig(t *testing.T, store storage.Store) *witnessedRig {
	t.Helper()
	r := &witnessedRig{rig: newRig(t, store)}
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
	r.config.Signers[0], r.config.Verifiers[0], r.config.VKeys = signer, verifier, []string{vkey}
	for i := range 3 {
		w := witnesstest.New(t, fmt.Sprintf("witness.example/w%d", i+1))
		w.Follow(t, origin, vkey)
		r.w = append(r.w, w)
	}
	r.policy = witnesstest.Policy(t, 2, r.w, vkey)
	pool := witness.NewPool(witness.PoolConfig{Timeout: 300 * time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	t.Cleanup(pool.Close)
	r.config.Witnesses, r.config.Pool = publisher.Witnessing{Policy: r.policy}, pool
	return r
}

// waitMet waits for a checkpoint of that head, which must meet the policy.
func (r *witnessedRig) waitMet(t *testing.T, p *publisher.Publisher, head tree.Head) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got, err := p.Wait(ctx, head.Size)
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.policy.Check(got.Note)
	if err != nil || result.Head != head || !got.QuorumMet || got.Cosignatures != len(result.Cosignatures) {
		t.Fatalf("got %+v, %v, want one of %v that meets the policy", got, err, head)
	}
}

// expectNothing fails the test if a checkpoint of the size is published soon.
func expectNothing(t *testing.T, p *publisher.Publisher, size uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, err := p.Wait(ctx, size); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, %v, want nothing yet", got, err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// metric returns the value of one of the publisher's metrics.
func metric(t *testing.T, p *publisher.Publisher, name string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(p)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestNothingIsPublishedWithoutTheQuorum(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		r.w[0].Kill()
		p, _ := r.start(t)
		head := r.grow(t, p, 10)
		r.waitMet(t, p, head)

		r.w[1].Kill()
		for range 3 {
			head = r.grow(t, p, 10)
			expectNothing(t, p, head.Size)
		}
		if last, err := p.Latest(); err != nil || last.Size != 10 {
			t.Errorf("public is %v, %v, want size 10", last, err)
		}
		if err := p.Stalled(); err == nil || !strings.Contains(err.Error(), "missing: w1, w2") {
			t.Errorf("it says %v", err)
		}
		if metric(t, p, "stele_log_publication_lag_seconds") == 0 || metric(t, p, "stele_log_witnesses_missing") != 1 {
			t.Error("the metrics do not say that the newest head waits for witnesses")
		}
		if err := p.Refusal(); err != nil {
			t.Errorf("it refuses: %v", err)
		}

		r.w[0].Honest()
		// Nobody asks for it.
		eventually(t, "the newest head is published", func() bool {
			last, err := p.Latest()
			return err == nil && last.Head == head
		})
		r.waitMet(t, p, head)
		if lag := metric(t, p, "stele_log_publication_lag_seconds"); p.Stalled() != nil || lag != 0 {
			t.Errorf("afterwards: %v, lag %v", p.Stalled(), lag)
		}
	})
}

func TestOpenModePublishesWithoutAndThenWith(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		r.config.Witnesses.Open = true
		r.w[0].Kill()
		r.w[1].Hang()
		p, stop := r.start(t)
		head := r.grow(t, p, 10)
		eventually(t, "the head is public", func() bool {
			last, err := p.Latest()
			return err == nil && last.Head == head
		})
		last, _ := p.Latest()
		if last.QuorumMet || last.Cosignatures != 1 || metric(t, p, "stele_log_checkpoints_unmet_total") == 0 {
			t.Errorf("%+v, of which none is counted or the policy is met", last)
		}
		expectNothing(t, p, head.Size) // that a receipt could be made under
		again, _ := p.Latest()
		if again.Number != last.Number {
			t.Errorf("the head was published again, as number %d, though the policy is not met", again.Number)
		}
		r.w[0].Honest()
		r.waitMet(t, p, head)
		met, _ := p.Latest()
		if met.Head != head || met.Number != last.Number+1 {
			t.Errorf("the head that the witnesses have cosigned is %+v", met)
		}
		stop()

		// One that was met is found again behind one that was not.
		r.w[0].Kill()
		p, stop = r.start(t)
		next := r.grow(t, p, 10)
		eventually(t, "the next head is public", func() bool {
			last, err := p.Latest()
			return err == nil && last.Head == next
		})
		stop()
		p, err := publisher.New(t.Context(), r.config)
		if err != nil {
			t.Fatal(err)
		}
		if last, err := p.LatestCosigned(); err != nil || last.Head != head {
			t.Errorf("after a restart receipts are made under %v, %v, want %v", last, err, head)
		}
	})
}

func TestOpenModePublishesTheNextHeadWhileWitnessesAreLeftAlone(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		pool := witness.NewPool(witness.PoolConfig{MinBackoff: time.Hour, MaxBackoff: time.Hour})
		t.Cleanup(pool.Close)
		r.config.Witnesses.Open, r.config.Pool = true, pool
		for _, w := range r.w {
			w.Kill()
		}
		p, _ := r.start(t)
		for range 3 {
			head := r.grow(t, p, 10)
			eventually(t, "the head is public", func() bool {
				last, err := p.Latest()
				return err == nil && last.Head == head
			})
		}
	})
}

func TestPolicyForALogThatWasPublishedWithout(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		with := r.config.Witnesses
		r.config.Witnesses = publisher.Witnessing{}
		p, stop := r.start(t)
		head := r.grow(t, p, 300)
		r.wait(t, p, head.Size)
		stop()
		r.config.Witnesses = with
		p, _ = r.start(t)
		r.waitMet(t, p, head)
	})
}

func TestRestartWhileCosignaturesAreGathered(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		p, stop := r.start(t)
		r.waitMet(t, p, r.grow(t, p, 5))
		r.w[1].Kill()
		r.w[2].Hang()
		p.Committed(r.grow(t, p, 5))
		eventually(t, "a witness has cosigned what is not published", func() bool { return r.w[0].Size(t, origin) == 10 })
		stop()
		record, err := r.config.Record.Load()
		if err != nil || !strings.HasPrefix(string(record), origin+"\n10\n") {
			t.Fatalf("on record is %q, %v", record, err)
		}
		if last, err := p.Latest(); err != nil || last.Size != 5 {
			t.Fatalf("public is %v, %v", last, err)
		}
		r.w[1].Honest()
		p, _ = r.start(t)
		r.waitMet(t, p, r.grow(t, p, 5))
	})
}

// TestWitnessesFindARollbackThatLeftNoTrace restores a backup of all that the
// server has: its database, and its record of what was signed.
func TestWitnessesFindARollbackThatLeftNoTrace(t *testing.T) {
	for _, c := range []struct {
		name       string
		monitoring bool // whether the witnesses have a monitoring endpoint
		grown      int  // what the restored log takes in before it signs
		says       string
	}{
		{"seen before it signs", true, 0, "larger tree"},
		{"grown before it signs", true, 30, "not a part of ours"},
		{"without monitoring endpoints", false, 0, "larger tree"},
		{"without monitoring endpoints, grown", false, 30, "not a part of ours"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newWitnessedRig(t, dbtest.SQLite(t)())
			p, stop := r.start(t)
			r.waitMet(t, p, r.grow(t, p, 10))
			backup, err := r.config.Record.Load()
			if err != nil {
				t.Fatal(err)
			}
			r.waitMet(t, p, r.grow(t, p, 10))
			stop()

			// The same log, restored to its first 10 entries, goes on otherwise.
			restored := newRig(t, dbtest.SQLite(t)())
			restored.config.Signers, restored.config.Verifiers = r.config.Signers, r.config.Verifiers
			restored.config.VKeys = r.config.VKeys
			restored.config.Witnesses, restored.config.Pool = r.config.Witnesses, r.config.Pool
			restored.restore(t, 10, c.grown)
			if err := os.WriteFile(string(restored.config.Record), backup, 0o600); err != nil {
				t.Fatal(err)
			}
			if !c.monitoring {
				for _, w := range r.w {
					w.Do(withoutMonitoring)
				}
			}
			p, stop = restored.start(t)
			defer stop()
			_, err = p.Wait(t.Context(), 1<<40)
			var refused *publisher.RefusalError
			var contradiction *witness.ContradictionError
			if !errors.As(err, &refused) || !errors.As(err, &contradiction) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want a refusal because of a witness that says %q", err, c.says)
			}
			if last, err := p.Latest(); err == nil {
				t.Errorf("published %v", last)
			}
			for _, w := range r.w {
				if size := w.Size(t, origin); size != 20 {
					t.Errorf("a witness has cosigned size %d of the restored log", size)
				}
			}
		})
	}
}

func withoutMonitoring(w http.ResponseWriter, r *http.Request, honest http.Handler) {
	if r.Method == http.MethodGet {
		http.NotFound(w, r)
		return
	}
	honest.ServeHTTP(w, r)
}

func TestLyingWitnessStopsTheLogAndSaysSo(t *testing.T) {
	eachWitnessed(t, func(t *testing.T, r *witnessedRig) {
		p, _ := r.start(t)
		r.waitMet(t, p, r.grow(t, p, 10))
		r.w[1].Say(http.StatusConflict, "text/x.tlog.size", "11000\n")
		r.grow(t, p, 10)
		eventually(t, "the log is not signed any more", func() bool { return p.Refusal() != nil })
		if says := p.Refusal().Error(); !strings.Contains(says, "w2") || !strings.Contains(says, "11000") {
			t.Errorf("it says %q", says)
		}
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
