// Package publisher is the only signer of a log: it turns committed heads into
// checkpoints, and keeps what it signed.
//
//	committed head -> proven consistent -> signed -> recorded -> cosigned -> stored -> public
//
// Cosigned is a step of logs whose checkpoints must meet a witness policy; see
// [Witnessing].
//
// A checkpoint is published at most once an interval, and at once when somebody
// waits for one. There is no timer while nothing is to be published. A pure function
// of the publisher's state, in schedule.go, decides what to do next and when;
// [Publisher.Run] asks it, waits, and acts.
//
// Invariants, and what a crash leaves behind at each step:
//
//   - A head is signed only if it is committed and proven consistent with the
//     last one signed, by a proof from what is stored now. A database that was
//     rolled back, restored or rewritten has no such proof; then the publisher
//     signs nothing more, for the reason in [Publisher.Refusal].
//   - Nothing is acknowledged that can never be signed: the stored head is proven
//     before anything is written on top of it ([Publisher.Prove]), and a refusal
//     ends the writing too (Config.Refused). Witnesses that are away end neither.
//   - recorded: what was signed is in the [Record], outside the database, before
//     anybody else sees it. A crash after that, or witnesses that stay away,
//     leave a record that is ahead of the database's checkpoints. Nothing is
//     lost by it: what is signed next must be consistent with the record.
//   - cosigned: witnesses are asked while nothing is locked and no transaction
//     is open. One that proves that it knows another history of the log, or more of
//     it, ends the signing as a rollback does; one that only says so has failed.
//   - stored: every checkpoint is in the database before it is served, with a
//     number that has no gaps. Once it is public its number is on record too. A crash
//     before that leaves the number of the one before, which the database has as well.
//
// A Publisher is safe for concurrent use.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/witness"
)

// Config configures a Publisher.
type Config struct {
	Log      storage.Log
	Nodes    tree.NodeReader // of Log
	Record   Record
	Logger   *slog.Logger
	Now      func() time.Time // the clock of checkpoints' times of publication
	Interval time.Duration    // between checkpoints that nobody waits for, at least

	// Signers sign each checkpoint, Verifiers open those signed before.
	Signers   []note.Signer
	Verifiers []note.Verifier

	// Pool asks Witnesses, and VKeys are the verifier keys of Verifiers. Both are
	// needed only where there is a witness policy.
	Witnesses Witnessing
	Pool      *witness.Pool
	VKeys     []string

	// Published, if it is not nil, is called with the head of each checkpoint that
	// becomes public, also if another server has published it. It must not block.
	Published func(tree.Head)

	// Refused, if it is not nil, is called with the first [*RefusalError], before
	// Refusal returns it. It must neither block nor call the Publisher.
	Refused func(error)
}

// A Published is a checkpoint and its place in the log's history.
type Published struct {
	storage.Checkpoint
	Head         tree.Head
	Cosignatures int  // of witnesses in the policy; 0 without a policy
	QuorumMet    bool // whether it meets the policy; true without one
}

// A Publisher signs for one log.
type Publisher struct {
	cfg       Config
	signer    signer
	witnesses *witness.Gatherer // nil without a policy
	probed    bool              // of Prove: witnesses were asked what they know
	gathering sync.Mutex        // held while cosignatures are gathered
	wake      chan struct{}     // holds a token if the urgency has changed

	mu      sync.Mutex
	state   state         // of the schedule; changed by change alone
	lagging time.Time     // since when state lags; zero if it does not
	renewed chan struct{} // closed and replaced with each checkpoint or refusal
	refusal error
	stalled error // why the policy was not met last
	failing error // why the last attempt to publish failed otherwise; nil once one succeeds

	number           atomic.Uint64             // of the next checkpoint
	latest, cosigned atomic.Pointer[Published] // the newest, and the newest that meets the policy
	published, unmet atomic.Uint64             // checkpoints since New, and those that do not meet it
}

// lastTimeout bounds how long a checkpoint may take that is published when the server
// stops. Without it the head is published once a server runs again.
const lastTimeout = 2 * time.Second

// ErrNothingPublished means that the log has no checkpoint yet.
var ErrNothingPublished = errors.New("nothing is published yet")

// New returns a Publisher that serves the newest stored checkpoint and signs
// once it runs.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	p := &Publisher{
		cfg: cfg,
		signer: signer{origin: cfg.Log.Info().Origin, nodes: cfg.Nodes, record: cfg.Record,
			signers: cfg.Signers, verifiers: cfg.Verifiers},
		wake:    make(chan struct{}, 1),
		state:   state{interval: cfg.Interval},
		renewed: make(chan struct{}),
	}
	if cfg.Witnesses.Policy != nil {
		if err := p.openWitnesses(); err != nil {
			return nil, err
		}
	}
	if err := p.Refresh(ctx); err != nil {
		return nil, err
	}
	return p, p.findCosigned(ctx)
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
	if c.Number < p.number.Load() {
		return nil
	}
	newest, err := p.newestSigned(ctx, c.Number)
	if err != nil {
		return err
	}
	p.number.Store(c.Number + 1)
	if newest != nil {
		p.show(newest)
	}
	return nil
}

// newestSigned returns the newest stored checkpoint, the last of which has the given
// number, that is newer than the one that is public, or nil. Whoever has the rights of
// the server can insert a checkpoint that the log has not signed. It stays in the
// history, where every verifier names it, and is neither served nor built upon.
func (p *Publisher) newestSigned(ctx context.Context, last uint64) (*Published, error) {
	var first uint64
	if public := p.latest.Load(); public != nil {
		first = public.Number + 1
	}
	for end := last + 1; end > first; {
		start := max(first, end-min(end, lookBack))
		stored, err := p.cfg.Log.Checkpoints(ctx, start, int(end-start))
		if err != nil {
			return nil, err
		}
		for _, c := range slices.Backward(stored) {
			published, err := p.open(c)
			if err == nil {
				return published, nil
			}
			p.cfg.Logger.Warn("a checkpoint in the database was not signed by this log, and is left out", "number", c.Number, "error", err)
		}
		end = start
	}
	return nil, nil
}

// open opens a stored checkpoint.
func (p *Publisher) open(c storage.Checkpoint) (*Published, error) {
	opened, _, err := checkpoint.Open(c.Note, p.cfg.Log.Info().Origin, p.cfg.Verifiers...)
	if err == nil && opened.Size != c.Size {
		err = fmt.Errorf("it is of size %d, and stored for %d", opened.Size, c.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %d: %w: %w", c.Number, storage.ErrDamaged, err)
	}
	return p.judge(c, opened.Head), nil
}

// Latest returns the newest published checkpoint, or ErrNothingPublished, or a
// [*RefusalError]. See [Publisher.LatestCosigned].
func (p *Publisher) Latest() (*Published, error) { return p.newest(&p.latest) }

// LatestCosigned returns the newest published checkpoint that meets the policy,
// or ErrNothingPublished, or a [*RefusalError]. Receipts are made under it. It is
// the latest, except where checkpoints are published that do not meet the policy.
func (p *Publisher) LatestCosigned() (*Published, error) { return p.newest(&p.cosigned) }

func (p *Publisher) newest(c *atomic.Pointer[Published]) (*Published, error) {
	if last := c.Load(); last != nil {
		return last, nil
	}
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	return nil, ErrNothingPublished
}

// Refusal returns why nothing more is signed or written, a [*RefusalError], or nil.
func (p *Publisher) Refusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// Committed takes note that the log has durably reached a head, which has grown
// out of one that Prove was called with. It does not block.
func (p *Publisher) Committed(head tree.Head) {
	p.change(func(s *state) { s.committed = head })
}

// Wait returns a checkpoint of at least the given size that meets the policy,
// which is published at once if it can be. It fails with the context's error, or
// with a [*RefusalError].
func (p *Publisher) Wait(ctx context.Context, size uint64) (*Published, error) {
	for {
		var last *Published
		var refusal error
		var renewed <-chan struct{}
		p.change(func(s *state) {
			last, refusal, renewed = p.cosigned.Load(), p.refusal, p.renewed
			if last == nil || last.Size < size {
				last, s.waiting = nil, true
			}
		})
		if last != nil {
			return last, nil
		}
		if refusal != nil {
			return nil, refusal
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// change changes the state, with mu held, and wakes Run if there is something
// else to do then. A commit while others wait to be published does not wake it.
func (p *Publisher) change(set func(s *state)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.state.urgency()
	set(&p.state)
	if !p.state.lags() {
		p.lagging = time.Time{}
	} else if p.lagging.IsZero() {
		p.lagging = time.Now()
	}
	if p.state.urgency() == before {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run publishes until the context ends. The newest head committed by then is
// published before it returns, if it can be at the first attempt and within lastTimeout.
func (p *Publisher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		urgency, wait := p.next()
		if wait == 0 {
			p.act(ctx, urgency)
			continue
		}
		select {
		case <-p.wake:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
	defer cancel()
	if urgency, _ := p.next(); urgency != idle {
		p.act(ctx, urgency)
	}
	// A checkpoint that was in progress may have been stored although its context had
	// ended; the one just tried then found its number taken.
	if urgency, _ := p.next(); urgency > recosign {
		p.act(ctx, urgency)
	}
}

// next asks the schedule.
func (p *Publisher) next() (urgency, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return next(time.Now(), p.state)
}
