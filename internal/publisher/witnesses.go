package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/witness"
)

// Witnessing says who must cosign a log's checkpoints.
type Witnessing struct {
	Policy *policy.Policy // its logs do not count: it is for this one
	Pool   *witness.Pool

	// Open lets a checkpoint be published that does not meet the policy, once
	// each witness has answered or the pool's timeout is over. Its head is
	// published again when it can meet the policy; until then no receipts are
	// made under it. Otherwise nothing is published that does not meet the
	// policy, for as long as it takes.
	Open bool
}

const (
	// probeTimeout bounds how long the first signature waits for what witnesses
	// know.
	probeTimeout = 3 * time.Second

	// lookBack is how many checkpoints are looked through, at the start, for
	// one that meets the policy.
	lookBack = 100

	headTimeout = 5 * time.Second // to read the newest head
)

func (p *Publisher) makeGatherer() (err error) {
	p.gatherer, err = witness.NewGatherer(witness.GathererConfig{
		Pool: p.cfg.Witnesses.Pool, Policy: p.cfg.Witnesses.Policy, Log: p.cfg.VKeys, Nodes: p.cfg.Nodes,
		Contradicted: p.contradicted,
	})
	return err
}

// judge says how a checkpoint that is stored stands to the policy.
func (p *Publisher) judge(c storage.Checkpoint, head tree.Head) *Published {
	published := &Published{Checkpoint: c, Head: head, Met: true}
	if p.gatherer != nil {
		published.Cosignatures, published.Met = p.gatherer.QuorumMet(c.Note)
	}
	return published
}

// findTrusted finds the newest of the last checkpoints that meets the policy.
func (p *Publisher) findTrusted(ctx context.Context) error {
	last := p.latest.Load()
	if last == nil || last.Met {
		return nil
	}
	stored, err := p.cfg.Log.Checkpoints(ctx, last.Number-min(last.Number, lookBack), lookBack)
	if err != nil {
		return err
	}
	for i := len(stored) - 1; i >= 0; i-- {
		published, err := p.open(stored[i])
		if err != nil {
			return err
		}
		if published.Met {
			p.trusted.Store(published)
			return nil
		}
	}
	return nil
}

// probe asks witnesses, once, whether they know another history than the one
// that has the head, before anything is signed.
func (p *Publisher) probe(ctx context.Context, head tree.Head) error {
	if p.gatherer == nil || p.probed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := p.gatherer.Probe(ctx, head); err != nil {
		return p.refusalOr(err)
	}
	p.probed = true
	return nil
}

// cosign gathers cosignatures of what was signed and recorded.
func (p *Publisher) cosign(ctx context.Context, msg []byte, head tree.Head) ([]byte, error) {
	if p.gatherer == nil {
		return msg, nil
	}
	gathering, cancel := context.WithTimeout(ctx, p.cfg.Witnesses.Pool.Timeout())
	defer cancel()
	full, err := p.gatherer.Gather(gathering, msg)
	missing, ok := errors.AsType[*witness.GatherError](err)
	if !ok || ctx.Err() != nil {
		return full, p.refusalOr(err)
	}
	p.mu.Lock()
	p.stalled = missing
	p.mu.Unlock()
	last := p.latest.Load()
	if !p.cfg.Witnesses.Open || last != nil && last.Head == head {
		p.again = missing.Again
		return nil, err
	}
	p.askAgain = missing.Again
	p.unmet.Add(1)
	p.cfg.Logger.Warn("checkpoint does not meet the witness policy and is published all the same, as "+
		"the policy's mode is open", "tree_size", head.Size, "error", err)
	return full, nil
}

// contradicted ends the signing because of what a witness knows.
//
// A larger tree is no contradiction if it is in the database by now: then
// another server publishes this log, and this one is late.
func (p *Publisher) contradicted(c *witness.ContradictionError) {
	if c.Larger() {
		ctx, cancel := context.WithTimeout(context.Background(), headTimeout)
		defer cancel()
		head, err := p.cfg.Log.Head(ctx)
		if err != nil || head.Size >= c.Size {
			return // it is said again, if it still holds
		}
	}
	signed, err := p.lastSigned()
	p.refuse(&RefusalError{Signed: signed, Head: c.Ours, Reason: errors.Join(c, err)})
}

// refusalOr returns the refusal, if by now there is one, or else the error.
func (p *Publisher) refusalOr(err error) error {
	if err == nil {
		return nil
	}
	if refusal := p.Refusal(); refusal != nil {
		return refusal
	}
	return fmt.Errorf("ask witnesses: %w", err)
}

// Stalled returns why the newest head has no checkpoint that meets the policy,
// if witnesses were asked for one in vain, or nil. They are asked again.
func (p *Publisher) Stalled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stalled
}

// Unmet returns the number of checkpoints published since New that do not meet
// the policy.
func (p *Publisher) Unmet() uint64 { return p.unmet.Load() }

// Lag returns for how long a committed head has been waiting for a checkpoint
// that meets the policy; 0 if none is.
func (p *Publisher) Lag() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return 0
	}
	return time.Since(p.since)
}

// Witnesses returns what each witness knows of the log, in the policy's order.
func (p *Publisher) Witnesses() []witness.WitnessStats {
	if p.gatherer == nil {
		return nil
	}
	return p.gatherer.Stats()
}
