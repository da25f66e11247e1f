package publisher

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
)

// Prove proves that the head a log has stored continues what was signed last, as far
// as the record, the newest checkpoint and the witnesses know. The sequencer calls
// it before it writes on top of that head. A database that was rolled back may fit its
// own newest checkpoint, so the proof does not depend on there being anything to sign.
//
// The error is a [*RefusalError] if the head does not continue it, or did not
// before: nothing more is signed then. After any other error Prove can be called
// again. It is for one caller at a time.
func (p *Publisher) Prove(ctx context.Context, head tree.Head) error {
	if err := p.Refusal(); err != nil {
		return err
	}
	err := p.prove(ctx, head)
	if _, refused := errors.AsType[*RefusalError](err); refused {
		p.refuse(err)
	}
	return err
}

func (p *Publisher) prove(ctx context.Context, head tree.Head) error {
	if err := p.Refresh(ctx); err != nil {
		return err
	}
	last := p.latest.Load()
	if err := p.recoverRecord(ctx, last); err != nil {
		return err
	}
	if err := p.overtaken(ctx, head, last); err != nil {
		return err
	}
	if err := p.signer.mayFollow(ctx, head, last); err != nil {
		return err
	}
	return p.probe(ctx, head)
}

// recoverRecord puts the newest published checkpoint on record, where nothing is, if a
// quorum of witnesses cosigns it again: each does that for the largest tree that it
// knows, and for no other. Without a policy, or for a log that never met it, nothing
// is done: mayFollow then refuses the head.
//
// A witness that is ahead of the published checkpoint shows one that the log has
// signed too. That one goes on record: it has just not been stored before a crash, or
// mayFollow refuses the head because of it.
func (p *Publisher) recoverRecord(ctx context.Context, last *Published) error {
	if p.witnesses == nil || p.cosigned.Load() == nil {
		return nil
	}
	if msg, err := p.cfg.Record.Load(); msg != nil || err != nil {
		return nil
	}
	signed := last.Note
	_, err := p.gather(ctx, signed)
	if ahead, ok := errors.AsType[*witness.ContradictionError](err); ok && ahead.Larger() {
		signed, err = ahead.Note, nil
	}
	if err != nil {
		return fmt.Errorf("%s is missing, which records what was signed last; a quorum of witnesses must confirm "+
			"the newest checkpoint instead: %w", p.cfg.Record.name(), p.refusalOr(err))
	}
	p.cfg.Logger.Warn("the record of what was signed last was missing; what the witnesses know takes its place",
		"record", p.cfg.Record)
	return p.cfg.Record.Store(signed)
}
