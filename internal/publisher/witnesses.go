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

// Witnessing configures which witnesses must cosign a log's checkpoints. The zero
// Witnessing requires none.
type Witnessing struct {
	// Policy names the witnesses and the quorum; nil asks for none. Its logs do
	// not count: it is for the log that it is given to.
	Policy *policy.Policy

	// Open lets a checkpoint be published that does not meet the policy, once
	// each witness has answered or the pool's timeout is over. Its head is
	// published again when it can meet the policy; until then no receipts are
	// made under it. Otherwise nothing is published that does not meet the
	// policy, for as long as it takes.
	Open bool
}

const (
	// probeTimeout bounds how long the first event and the first signature wait for
	// witnesses to answer which tree they know.
	probeTimeout = 3 * time.Second

	// lookBack is the number of checkpoints that are searched, at the start, for one
	// that meets the policy.
	lookBack = 100

	headTimeout = 5 * time.Second // to read the newest head
)

func (p *Publisher) openWitnesses() (err error) {
	p.witnesses, err = witness.NewGatherer(witness.GathererConfig{
		Pool: p.cfg.Pool, Policy: p.cfg.Witnesses.Policy, Log: p.cfg.VKeys, Nodes: p.cfg.Nodes,
		Contradicted: p.contradicted, Claimed: p.claimed,
	})
	return err
}

// judge compares a checkpoint that is stored with the policy.
func (p *Publisher) judge(c storage.Checkpoint, head tree.Head) *Published {
	published := &Published{Checkpoint: c, Head: head, QuorumMet: true}
	if p.witnesses != nil {
		published.Cosignatures, published.QuorumMet = p.witnesses.QuorumMet(c.Note)
	}
	return published
}

// findCosigned finds the newest of the last checkpoints that meets the policy.
func (p *Publisher) findCosigned(ctx context.Context) error {
	last := p.latest.Load()
	if last == nil || last.QuorumMet {
		return nil
	}
	stored, err := p.cfg.Log.Checkpoints(ctx, last.Number-min(last.Number, lookBack), lookBack)
	if err != nil {
		return err
	}
	for i := len(stored) - 1; i >= 0; i-- {
		published, err := p.open(stored[i])
		if err != nil {
			continue // not signed by this log, see newestSigned
		}
		if published.QuorumMet {
			p.change(func(s *state) {
				p.cosigned.Store(published)
				s.cosigned = published.Head
			})
			return nil
		}
	}
	return nil
}

// probe asks witnesses, once, whether they know another history than the one
// that has the head, before anything is written or signed.
func (p *Publisher) probe(ctx context.Context, head tree.Head) error {
	if p.witnesses == nil || p.probed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := p.witnesses.Probe(ctx, head); err != nil {
		return p.refusalOr(err)
	}
	p.probed = true
	return nil
}

// cosign gathers cosignatures of what was signed and recorded. The error is a
// [*witness.GatherError] if the policy is not met and the checkpoint must not be
// published for that reason.
func (p *Publisher) cosign(ctx context.Context, msg []byte, head tree.Head) ([]byte, error) {
	if p.witnesses == nil {
		return msg, nil
	}
	full, err := p.gather(ctx, msg)
	missing, ok := errors.AsType[*witness.GatherError](err)
	if !ok || ctx.Err() != nil {
		return full, p.refusalOr(err)
	}
	p.change(func(s *state) {
		p.stalled = missing
		s.askAgain = missing.Again
	})
	last := p.latest.Load()
	if !p.cfg.Witnesses.Open || last != nil && last.Head == head {
		return nil, err
	}
	p.unmet.Add(1)
	p.cfg.Logger.Warn("checkpoint does not meet the witness policy and is published all the same, as "+
		"the policy's mode is open", "tree_size", head.Size, "error", err)
	return full, nil
}

// gather has a checkpoint cosigned. Prove and Run take turns.
func (p *Publisher) gather(ctx context.Context, msg []byte) ([]byte, error) {
	p.gathering.Lock()
	defer p.gathering.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Pool.Timeout())
	defer cancel()
	return p.witnesses.Gather(ctx, msg)
}

// contradicted ends the signing because a witness proves that it knows another history.
func (p *Publisher) contradicted(c *witness.ContradictionError) {
	if c.Larger() && p.isLate(c.Seen.Size) {
		return
	}
	signed, err := p.signer.lastSigned(p.latest.Load())
	p.refuse(&RefusalError{Signed: signed, Head: c.Ours, Reason: errors.Join(c, err)})
}

// claimed makes it known that a witness contradicts the log and proves nothing. It has
// failed, and the quorum decides whether that matters.
func (p *Publisher) claimed(c *witness.ClaimError) {
	if c.Larger() && p.isLate(c.Size) {
		return
	}
	p.cfg.Logger.Error("a witness contradicts this log without proof, and counts as failed", "error", c)
}

// isLate reports whether a tree of that size, larger than ours, is in the database by
// now: then another server publishes this log. If the database cannot be read it may
// be; the witness repeats what it says, if it still holds.
func (p *Publisher) isLate(size uint64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), headTimeout)
	defer cancel()
	head, err := p.cfg.Log.Head(ctx)
	return err != nil || head.Size >= size
}

// Claims returns what witnesses claim at present, without proof, against the log's
// history, or nil. They count as failed.
func (p *Publisher) Claims() error {
	if p.witnesses == nil {
		return nil
	}
	var claims []error
	for _, w := range p.witnesses.Stats() {
		if w.Claim != nil {
			claims = append(claims, w.Claim)
		}
	}
	return errors.Join(claims...)
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
