package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/witness"
)

// maxRetryDelay bounds how long after a failure the next attempt is made, unless
// witnesses are missing, which have times of their own.
const maxRetryDelay = time.Second

// act does what the schedule asks for, for the newest committed head. A failure
// changes the schedule.
func (p *Publisher) act(ctx context.Context, u urgency) {
	p.mu.Lock()
	head := p.state.committed
	p.mu.Unlock()
	err := p.publish(ctx, head)
	if err == nil {
		return
	}
	again := time.Now().Add(min(p.cfg.Interval, maxRetryDelay))
	if missing, ok := errors.AsType[*witness.GatherError](err); ok {
		again = missing.Again
	}
	switch _, refused := errors.AsType[*RefusalError](err); {
	case refused:
		p.refuse(err)
	case errors.Is(err, errOvertaken):
		p.forget(head)
	default:
		p.change(func(s *state) {
			s.failed(u, again)
			if _, waits := errors.AsType[*witness.GatherError](err); !waits && ctx.Err() == nil {
				p.failing = err
			}
		})
		if ctx.Err() == nil {
			p.cfg.Logger.Error("checkpoint not published, trying again", "error", err)
		}
	}
}

// publish takes a head through all the steps up to public.
func (p *Publisher) publish(ctx context.Context, head tree.Head) error {
	start := time.Now()
	p.change(func(s *state) { s.began = start })
	last := p.latest.Load()
	if err := p.overtaken(ctx, head, last); err != nil {
		return err
	}
	msg, err := p.signer.sign(ctx, head, last)
	if err != nil {
		return err
	}
	if msg, err = p.cosign(ctx, msg, head); err != nil {
		return err
	}
	made, err := p.store(ctx, msg, head)
	if err != nil {
		return err
	}
	p.published.Add(1)
	p.show(made)
	p.cfg.Logger.Debug("checkpoint published", "tree_size", made.Size, "number", made.Number,
		"cosignatures", made.Cosignatures, "elapsed", time.Since(start))
	p.remember(ctx, made.Checkpoint)
	return nil
}

// errOvertaken means that another server has taken over and has published a larger
// tree.
var errOvertaken = errors.New("another server publishes the log")

// overtaken returns errOvertaken if a larger tree is public than the head's, and
// in the database too. If it is public only, the database was rolled back.
func (p *Publisher) overtaken(ctx context.Context, head tree.Head, last *Published) error {
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

// store stores a checkpoint under the next number. If that is taken, the newest
// stored checkpoint is shown, and store fails.
func (p *Publisher) store(ctx context.Context, msg []byte, head tree.Head) (*Published, error) {
	// A witness that the quorum did not need may have contradicted the head meanwhile.
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	c := storage.Checkpoint{Number: p.number.Load(), Size: head.Size, Note: msg,
		Published: p.cfg.Now().UTC().Truncate(time.Microsecond)}
	err := p.cfg.Log.AddCheckpoint(ctx, c)
	if errors.Is(err, storage.ErrStale) {
		err = errors.Join(err, p.Refresh(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("store checkpoint: %w", err)
	}
	p.number.Store(c.Number + 1)
	return p.judge(c, head), nil
}

// show makes a checkpoint the newest and wakes all callers of Wait.
func (p *Publisher) show(c *Published) {
	p.change(func(s *state) {
		p.latest.Store(c)
		s.public = c.Head
		if c.QuorumMet {
			p.cosigned.Store(c)
			s.cosigned = c.Head
			p.stalled = nil
			p.lagging = time.Time{} // a head committed meanwhile counts as lagging from now on
		}
		s.waiting, p.failing = false, nil
		p.renew()
	})
	if p.cfg.Published != nil {
		p.cfg.Published(c.Head)
	}
}

// refuse ends the signing for good. The first reason stays.
func (p *Publisher) refuse(err error) {
	p.change(func(s *state) {
		if s.refused {
			return
		}
		p.cfg.Logger.Error("nothing more is signed for this log, or written to it", "error", err,
			"record", p.cfg.Record)
		if p.cfg.Refused != nil {
			p.cfg.Refused(err)
		}
		s.refused, p.refusal = true, err
		p.renew()
	})
}

// Failing returns why the newest head has no checkpoint, if the last attempt to publish
// one has failed for another reason than witnesses, or nil. It is tried again.
func (p *Publisher) Failing() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing
}

// forget drops the committed head from the schedule, since another server is writing
// to the log and publishes it.
func (p *Publisher) forget(head tree.Head) {
	p.change(func(s *state) {
		if s.committed == head {
			s.committed = tree.Head{}
		}
	})
}

// renew wakes all callers of Wait. It is called with mu held.
func (p *Publisher) renew() {
	close(p.renewed)
	p.renewed = make(chan struct{})
}
