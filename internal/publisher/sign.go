package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// sign takes one head through all the steps up to stored.
func (p *Publisher) sign(ctx context.Context, head tree.Head) (*Published, error) {
	if err := p.overtaken(ctx, head); err != nil {
		return nil, err
	}
	if err := p.probe(ctx, head); err != nil {
		return nil, err
	}
	if err := p.mayFollow(ctx, head); err != nil {
		return nil, err
	}
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: p.cfg.Log.Info().Origin, Head: head}, p.cfg.Signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if err := p.cfg.Record.Store(msg); err != nil {
		return nil, fmt.Errorf("record what was signed: %w", err)
	}
	if msg, err = p.cosign(ctx, msg, head); err != nil {
		return nil, err
	}
	// A witness that the quorum did not need may have spoken up meanwhile.
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	c := storage.Checkpoint{Size: head.Size, Note: msg, Published: p.cfg.Now().UTC().Truncate(time.Microsecond)}
	if last := p.latest.Load(); last != nil {
		c.Number = last.Number + 1
	}
	if err := p.cfg.Log.AddCheckpoint(ctx, c); err != nil {
		if errors.Is(err, storage.ErrStale) {
			err = errors.Join(err, p.Refresh(ctx))
		}
		return nil, fmt.Errorf("store checkpoint: %w", err)
	}
	return p.judge(c, head), nil
}

// errOvertaken says that another server, which has taken over, has published a
// larger tree.
var errOvertaken = errors.New("another server publishes the log")

// overtaken returns errOvertaken if a larger tree is public than the head's, and
// in the database too. If it is public only, the database was rolled back.
func (p *Publisher) overtaken(ctx context.Context, head tree.Head) error {
	last := p.latest.Load()
	if last == nil || last.Size <= head.Size {
		return nil
	}
	newest, err := p.cfg.Log.Head(ctx)
	if err != nil {
		return err
	}
	if newest.Size < last.Size {
		return &RefusalError{Signed: last.Head, Head: head, Reason: errRolledBack}
	}
	return errOvertaken
}

var errRolledBack = errors.New("the log has fewer entries than were signed: its database was rolled back or restored")

// A RefusalError says why a head must not be signed. It lasts until the server
// is started again.
type RefusalError struct {
	Signed, Head tree.Head // last signed, and refused
	Reason       error
}

func (e *RefusalError) Error() string {
	return fmt.Sprintf("refusing to sign %v: the last signed head is %v: %v", e.Head, e.Signed, e.Reason)
}

func (e *RefusalError) Unwrap() error { return e.Reason }

// mayFollow returns nil if the head may be signed after what is on record.
//
// SPEC: https://c2sp.org/tlog-checkpoint: a log MUST NOT sign two inconsistent
// checkpoints.
func (p *Publisher) mayFollow(ctx context.Context, head tree.Head) error {
	signed, err := p.lastSigned()
	if err != nil {
		return &RefusalError{Signed: signed, Head: head, Reason: err}
	}
	if head.Size < signed.Size {
		return &RefusalError{Signed: signed, Head: head, Reason: errRolledBack}
	}
	path, err := proof.Consistency(ctx, p.cfg.Nodes, signed.Size, head.Size)
	if err != nil {
		return fmt.Errorf("prove the new head consistent: %w", err)
	}
	if err := proof.VerifyConsistency(signed, head, path); err != nil {
		return &RefusalError{Signed: signed, Head: head, Reason: fmt.Errorf(
			"the log's history is not the one that was signed: %w", err)}
	}
	return nil
}

// lastSigned returns the head on record. A log without checkpoints has none,
// which counts as the empty head.
func (p *Publisher) lastSigned() (tree.Head, error) {
	msg, err := p.cfg.Record.Load()
	if err != nil {
		return tree.Empty(), fmt.Errorf("read what was signed last: %w", err)
	}
	if msg == nil {
		if last := p.latest.Load(); last != nil {
			return last.Head, fmt.Errorf("%s is missing, which records what was signed last; if the database is "+
				"known to be whole, put the newest checkpoint that anybody has seen there", p.cfg.Record)
		}
		return tree.Empty(), nil
	}
	c, _, err := checkpoint.Open(msg, p.cfg.Log.Info().Origin, p.cfg.Verifiers...)
	if err != nil {
		return tree.Empty(), fmt.Errorf("%s, which records what was signed last: %w", p.cfg.Record, err)
	}
	return c.Head, nil
}
