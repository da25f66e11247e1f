package publisher_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
