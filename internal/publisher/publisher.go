// Package publisher is the only signer of a log: it turns committed heads into
// checkpoints, and keeps what it signed.
//
//	committed head -> proven consistent -> signed -> recorded -> stored -> public
//
// A checkpoint is published at most once an interval, and at once when somebody
// waits for one. There is no timer while nothing is to be published.
//
// What always holds, and what a crash leaves behind at each step:
//
//   - A head is signed only if it is committed and proven consistent with the
//     last one signed, by a proof from what is stored now. A database that was
//     rolled back, restored or rewritten has no such proof; then the publisher
//     signs nothing more and says why ([Publisher.Refusal]).
//   - recorded: what was signed is in the [Record], outside the database, before
//     anybody else sees it. A crash after that leaves a record that is ahead of
//     the database's checkpoints by one; it is stored at the next start.
//   - stored: every checkpoint is in the database before it is served, with a
//     number that has no gaps.
//
// A Publisher is safe for concurrent use.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// Config is what a Publisher is made of.
type Config struct {
	Log      storage.Log
	Nodes    tree.NodeReader // of Log
	Record   Record
	Logger   *slog.Logger
	Now      func() time.Time
	Interval time.Duration // least time between checkpoints nobody waits for

	// Signers sign each checkpoint, Verifiers open those signed before.
	Signers   []note.Signer
	Verifiers []note.Verifier
}

// A Published is a checkpoint and its place in the log's history.
type Published struct {
	storage.Checkpoint
	Head tree.Head
}

// A Publisher signs for one log.
type Publisher struct {
	cfg  Config
	wake chan struct{} // holds a token if there may be something to do

	mu        sync.Mutex
	committed tree.Head     // newest
	waiting   int           // callers of Wait that the newest checkpoint does not serve
	changed   chan struct{} // closed and made anew with each checkpoint or refusal
	refusal   error

	latest    atomic.Pointer[Published]
	published atomic.Uint64 // checkpoints since New
}

// ErrNothingPublished says that the log has no checkpoint yet.
var ErrNothingPublished = errors.New("nothing is published yet")

// New returns a Publisher that serves the newest stored checkpoint and signs
// once it runs.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	p := &Publisher{cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	return p, p.Refresh(ctx)
}

// Refresh serves the newest stored checkpoint, which another server may have
// published.
func (p *Publisher) Refresh(ctx context.Context) error {
	c, err := p.cfg.Log.LastCheckpoint(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if last := p.latest.Load(); last != nil && last.Number >= c.Number {
		return nil
	}
	opened, _, err := checkpoint.Open(c.Note, p.cfg.Log.Info().Origin, p.cfg.Verifiers...)
	if err != nil {
		return fmt.Errorf("checkpoint %d: %w: %w", c.Number, storage.ErrDamaged, err)
	}
	p.show(&Published{c, opened.Head})
	return nil
}

// Latest returns the newest published checkpoint, or ErrNothingPublished.
func (p *Publisher) Latest() (*Published, error) {
	if last := p.latest.Load(); last != nil {
		return last, nil
	}
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	return nil, ErrNothingPublished
}

// Count returns the number of checkpoints published since New.
func (p *Publisher) Count() uint64 { return p.published.Load() }

// Refusal returns why nothing more is signed, or nil.
func (p *Publisher) Refusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// Committed says that the log has durably reached a head. It does not block.
func (p *Publisher) Committed(head tree.Head) {
	p.mu.Lock()
	p.committed = head
	p.mu.Unlock()
	p.signal()
}

func (p *Publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Wait returns a checkpoint of at least the given size, which is published at
// once if it can be. It fails with the context's error, or with a RefusalError.
func (p *Publisher) Wait(ctx context.Context, size uint64) (*Published, error) {
	for {
		p.mu.Lock()
		last, refusal, changed := p.latest.Load(), p.refusal, p.changed
		done := last != nil && last.Size >= size
		if !done && refusal == nil {
			p.waiting++
		}
		p.mu.Unlock()
		if done {
			return last, nil
		}
		if refusal != nil {
			return nil, refusal
		}
		p.signal()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Run publishes until the context ends. What is committed by then is published
// before it returns.
func (p *Publisher) Run(ctx context.Context) {
	var next time.Time // when a checkpoint that nobody waits for is due
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
			p.publish(context.WithoutCancel(ctx))
			return
		}
		now := time.Now()
		switch due := p.due(); {
		case due == nothing:
		case due == soon && now.Before(next):
			timer.Reset(next.Sub(now))
		default:
			p.publish(ctx)
			next = now.Add(p.cfg.Interval)
		}
	}
}

const (
	nothing = iota // every head that is known is published
	soon           // a head is to be published when the interval is over
	atOnce         // and somebody waits for it
)

func (p *Publisher) due() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.latest.Load()
	switch {
	case p.committed == tree.Head{} || p.refusal != nil:
		return nothing // not leading, or not signing
	case last != nil && last.Head == p.committed:
		return nothing
	case p.waiting > 0:
		return atOnce
	}
	return soon
}

// publish signs the newest committed head, unless it is published.
func (p *Publisher) publish(ctx context.Context) {
	if p.due() == nothing {
		return
	}
	p.mu.Lock()
	head := p.committed
	p.mu.Unlock()
	start := time.Now()
	made, err := p.sign(ctx, head)
	var refused *RefusalError
	switch {
	case errors.As(err, &refused):
		p.cfg.Logger.Error("checkpoint refused; nothing more is signed for this log", "error", err)
		p.refuse(err)
		return
	case err != nil:
		p.cfg.Logger.Error("checkpoint not published, trying again", "error", err)
		time.AfterFunc(p.cfg.Interval, p.signal)
		return
	}
	p.published.Add(1)
	p.show(made)
	p.cfg.Logger.Info("checkpoint published", "tree_size", made.Size, "number", made.Number,
		"elapsed", time.Since(start))
}

// show makes a checkpoint the newest and wakes those who wait.
func (p *Publisher) show(c *Published) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest.Store(c)
	p.waiting = 0
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Publisher) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal = err
	close(p.changed)
	p.changed = make(chan struct{})
}

// sign takes one head through all the steps up to stored.
func (p *Publisher) sign(ctx context.Context, head tree.Head) (*Published, error) {
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
	return &Published{c, head}, nil
}

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
		return &RefusalError{Signed: signed, Head: head, Reason: errors.New(
			"the log has fewer entries than were signed: its database was rolled back or restored")}
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
