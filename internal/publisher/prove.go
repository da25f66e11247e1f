package publisher

import (
	"context"
	"errors"

	"github.com/stele-log/stele/pkg/tree"
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
	if err := p.overtaken(ctx, head, last); err != nil {
		return err
	}
	if err := p.signer.mayFollow(ctx, head, last); err != nil {
		return err
	}
	return p.probe(ctx, head)
}
