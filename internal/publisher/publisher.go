// Package publisher is the only signer of a log: it turns committed heads into
// checkpoints, and keeps what it signed.
//
//	committed head -> proven consistent -> signed -> recorded -> cosigned -> stored -> public
//
// Cosigned is a step of logs whose checkpoints must meet a witness policy; see
// [Witnessing].
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
//     anybody else sees it. A crash after that, or witnesses that stay away,
//     leave a record that is ahead of the database's checkpoints. Nothing is
//     lost by it: what is signed next must be consistent with the record.
//   - cosigned: witnesses are asked while nothing is locked and no transaction
//     is open. One that knows another history of the log, or more of it, ends
//     the signing as a rollback does.
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
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/witness"
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

	// Witnesses must cosign what is published, if it is not nil. VKeys are then
	// the verifier keys of Verifiers.
	Witnesses *Witnessing
	VKeys     []string
}

// A Published is a checkpoint and its place in the log's history.
type Published struct {
	storage.Checkpoint
	Head         tree.Head
	Cosignatures int  // of witnesses in the policy; 0 without a policy
	Met          bool // whether it meets the policy; true without one
}

// A Publisher signs for one log.
type Publisher struct {
	cfg      Config
	gatherer *witness.Gatherer // nil without Witnesses
	wake     chan struct{}     // holds a token if there may be something to do

	mu        sync.Mutex
	committed tree.Head     // newest
	since     time.Time     // when the first head was committed that is not published; zero if there is none
	waiting   int           // callers of Wait that the newest checkpoint does not serve
	changed   chan struct{} // closed and made anew with each checkpoint or refusal
	refusal   error
	stalled   error // why the policy was not met last

	latest    atomic.Pointer[Published] // public
	trusted   atomic.Pointer[Published] // the newest that meets the policy
	published atomic.Uint64             // checkpoints since New
	unmet     atomic.Uint64             // those of them that do not meet the policy
	timed     atomic.Bool               // Run will publish the newest head when the interval is over

	// Of Run alone.
	proven   bool      // the head found at the start was proven consistent with the record
	again    time.Time // nothing is tried before, after it failed
	askAgain time.Time // witnesses are not asked before about a head that is public
	probed   bool      // witnesses were asked what they know
}

// ErrNothingPublished says that the log has no checkpoint yet.
var ErrNothingPublished = errors.New("nothing is published yet")

// New returns a Publisher that serves the newest stored checkpoint and signs
// once it runs.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	p := &Publisher{cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	if cfg.Witnesses != nil {
		if err := p.makeGatherer(); err != nil {
			return nil, err
		}
	}
	if err := p.Refresh(ctx); err != nil {
		return nil, err
	}
	return p, p.findTrusted(ctx)
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
	published, err := p.open(c)
	if err != nil {
		return err
	}
	p.show(published)
	return nil
}

// open opens a stored checkpoint.
func (p *Publisher) open(c storage.Checkpoint) (*Published, error) {
	opened, _, err := checkpoint.Open(c.Note, p.cfg.Log.Info().Origin, p.cfg.Verifiers...)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %d: %w: %w", c.Number, storage.ErrDamaged, err)
	}
	return p.judge(c, opened.Head), nil
}

// Latest returns the newest published checkpoint, or ErrNothingPublished. See
// [Publisher.Trusted].
func (p *Publisher) Latest() (*Published, error) {
	if last := p.latest.Load(); last != nil {
		return last, nil
	}
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	return nil, ErrNothingPublished
}

// Trusted returns the newest published checkpoint that meets the policy, or
// ErrNothingPublished. Receipts are made under it. It is the latest, but where
// checkpoints are published that do not meet the policy.
func (p *Publisher) Trusted() (*Published, error) {
	if last := p.trusted.Load(); last != nil {
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
	if last := p.trusted.Load(); p.since.IsZero() && (last == nil || last.Head != head) {
		p.since = time.Now()
	}
	p.mu.Unlock()
	// Run looks at committed after it has taken timed back, so it will not miss
	// this head; a lone writer would pay for its being woken by each commit.
	if !p.timed.Load() {
		p.signal()
	}
}

func (p *Publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Wait returns a checkpoint of at least the given size that meets the policy,
// which is published at once if it can be. It fails with the context's error, or
// with a RefusalError.
func (p *Publisher) Wait(ctx context.Context, size uint64) (*Published, error) {
	for {
		p.mu.Lock()
		last, refusal, changed := p.trusted.Load(), p.refusal, p.changed
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
			ctx = context.WithoutCancel(ctx)
			p.publish(ctx)
			// The checkpoint that was under way may be stored, though it was told
			// to stop; then the one just tried found its number taken.
			if p.due() > unmet {
				p.publish(ctx)
			}
			return
		}
		p.timed.Store(false)
		now := time.Now()
		if !p.proven && !now.Before(p.again) {
			p.proveStart(ctx)
		}
		switch due := p.due(); {
		case due == nothing:
		case now.Before(p.again):
			timer.Reset(p.again.Sub(now))
		case due == unmet && now.Before(p.askAgain):
			timer.Reset(p.askAgain.Sub(now))
		case due == soon && now.Before(next):
			timer.Reset(next.Sub(now))
			p.timed.Store(true)
		default:
			p.publish(ctx)
			next = now.Add(p.cfg.Interval)
			p.signal() // there may be more to do, or to wait for
		}
	}
}

// proveStart proves the head that is found at the start consistent with what was
// signed last, also if that head is public and nothing is to be signed: a
// database that was rolled back may fit its own newest checkpoint.
func (p *Publisher) proveStart(ctx context.Context) {
	p.mu.Lock()
	head := p.committed
	p.mu.Unlock()
	if head == (tree.Head{}) {
		return // not leading
	}
	err := p.mayFollow(ctx, head)
	if _, refused := errors.AsType[*RefusalError](err); refused {
		p.refuse(err)
	} else if err != nil && ctx.Err() == nil {
		p.cfg.Logger.Error("the head was not proven consistent at the start, trying again", "error", err)
		time.AfterFunc(time.Second, p.signal)
	}
	p.proven = err == nil
}

const (
	nothing = iota // every head that is known is published
	unmet          // the newest head is public, but its checkpoint does not meet the policy
	soon           // a head is to be published when the interval is over
	atOnce         // and somebody waits for it
)

func (p *Publisher) due() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	trusted, latest := p.trusted.Load(), p.latest.Load()
	switch {
	case p.committed == tree.Head{} || p.refusal != nil:
		return nothing // not leading, or not signing
	case trusted != nil && trusted.Head == p.committed:
		return nothing
	case latest != nil && latest.Head == p.committed:
		return unmet
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
	p.again, p.askAgain = time.Time{}, time.Time{}
	made, err := p.sign(ctx, head)
	switch _, refused := errors.AsType[*RefusalError](err); {
	case refused:
		p.refuse(err)
		return
	case errors.Is(err, errOvertaken):
		p.forget(head)
		return
	case err != nil:
		if p.again.IsZero() {
			p.again = time.Now().Add(min(p.cfg.Interval, time.Second))
		}
		if ctx.Err() == nil {
			p.cfg.Logger.Error("checkpoint not published, trying again", "error", err)
		}
		return
	}
	p.published.Add(1)
	p.show(made)
	p.cfg.Logger.Info("checkpoint published", "tree_size", made.Size, "number", made.Number,
		"cosignatures", made.Cosignatures, "elapsed", time.Since(start))
}

// forget takes back that the log has reached a head, for want of which nothing
// is to be published.
func (p *Publisher) forget(head tree.Head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.committed == head {
		p.committed, p.since = tree.Head{}, time.Time{}
	}
}

// show makes a checkpoint the newest and wakes those who wait.
func (p *Publisher) show(c *Published) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest.Store(c)
	if c.Met {
		p.trusted.Store(c)
		p.stalled = nil
		p.since = time.Time{}
		if c.Head != p.committed && p.committed != (tree.Head{}) {
			p.since = time.Now() // a little late: it was committed while this one was signed
		}
	}
	p.waiting = 0
	close(p.changed)
	p.changed = make(chan struct{})
}

// refuse ends the signing.
func (p *Publisher) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusal != nil {
		return
	}
	p.cfg.Logger.Error("checkpoint refused; nothing more is signed for this log", "error", err)
	p.refusal = err
	close(p.changed)
	p.changed = make(chan struct{})
}
