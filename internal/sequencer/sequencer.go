// Package sequencer is the only writer of a log: it gives events their indexes,
// integrates them into the tree, and makes both durable.
//
//	Append -> queue -> build -> commit -> reply
//
// Group commit: what arrives while one batch commits becomes the next batch,
// and that batch is built (deduplicated, rendered, hashed, compressed) while
// the one before it still commits. There is no timer: a lone event is committed
// at once.
//
// What always holds, and what a crash leaves behind at each step:
//
//   - build: nothing is stored. A crash loses events that nobody was told of.
//   - commit: entries, full tiles and head become durable in one transaction. A
//     crash leaves all or nothing, and nobody was told yet; the writer repeats
//     its events, and deduplication gives back what was stored.
//   - reply: every event in it is durable and integrated, duplicates included:
//     a duplicate is answered only after the batch that holds its original.
//   - After a commit whose outcome is unknown the sequencer forgets what it had
//     in memory and reads the log again. It never guesses.
//   - An event with the (source, id) of an entry is that entry, for ever: the
//     same content gets its index, other content gets a [ConflictError].
//
// A Sequencer is safe for concurrent use.
package sequencer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

var (
	// ErrBusy says that the queue is full. Nothing was stored; the caller tries
	// again in a second or so.
	ErrBusy = errors.New("the queue of this log is full")

	// ErrNotLeading says that this sequencer does not hold the log's lease.
	// Nothing was stored.
	ErrNotLeading = errors.New("this server is not writing to the log")

	// ErrUncertain says that a commit failed in a way that leaves open whether
	// it was stored. Events with the same source and id can be sent again.
	ErrUncertain = errors.New("the commit's outcome is unknown")
)

// A ConflictError says that an entry has the event's source and id, and other
// content.
type ConflictError struct {
	Source, ID string
	Index      uint64 // of the entry
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("entry %d has the source %q and the id %q already, with other content", e.Index, e.Source, e.ID)
}

// A Result is what became of one event.
type Result struct {
	Index     uint64
	Leaf      tree.Hash
	Duplicate bool           // the entry was there already
	Conflict  *ConflictError // not nil: the event was refused, all else is zero
}

// Config is what a Sequencer is made of.
type Config struct {
	Log    storage.Log
	Reader *storage.Reader // of Log
	Logger *slog.Logger
	Now    func() time.Time // the clock of recordedtime

	// Committed is called with each new head, in order, by one goroutine, once
	// the head is durable and before its events are answered. It must not block.
	Committed func(tree.Head)

	// MaxQueue is the number of bytes of events that may wait, by default 64
	// MiB; beyond it Append returns ErrBusy.
	MaxQueue int
}

const (
	defaultMaxQueue = 64 << 20
	maxBatch        = 4096 // events; a larger request is a batch of its own
	leaseRetry      = time.Second
	reloadDelay     = 500 * time.Millisecond
	damagedRetry    = time.Minute
)

// A Sequencer writes to one log.
type Sequencer struct {
	cfg     Config
	queue   queue
	stats   Stats
	settled chan struct{}
	settle  func() // closes settled
}

// Stats are counters of a Sequencer since it was made.
type Stats struct {
	Entries, Duplicates, Conflicts, Commits, Failures atomic.Uint64
}

// New returns a Sequencer that accepts events once it runs.
func New(cfg Config) *Sequencer {
	if cfg.MaxQueue == 0 {
		cfg.MaxQueue = defaultMaxQueue
	}
	s := &Sequencer{cfg: cfg, queue: newQueue(cfg.MaxQueue), settled: make(chan struct{})}
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	return s
}

// Stats returns the live counters.
func (s *Sequencer) Stats() *Stats { return &s.stats }

// Leading reports whether the sequencer holds the log's lease and accepts
// events.
func (s *Sequencer) Leading() bool { return s.queue.isOpen() }

// Settled is closed once the sequencer has first taken the log's lease, or
// failed to.
func (s *Sequencer) Settled() <-chan struct{} { return s.settled }

// QueuedBytes returns the number of bytes of events that wait.
func (s *Sequencer) QueuedBytes() int { return s.queue.waiting() }

// Append gives each event an index, in order, and returns once all are durable.
// Events are taken together or not at all. On error nothing is known to be
// stored: ErrBusy, ErrNotLeading, ErrUncertain, or the context's error, after
// which the events may still be stored.
func (s *Sequencer) Append(ctx context.Context, events []event.Event) ([]Result, error) {
	p, err := s.Submit(events)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.Done():
		return p.Results()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Submit queues events as Append does, and does not wait: what is submitted
// first is stored first. The error is ErrBusy or ErrNotLeading, and nothing is
// stored then.
func (s *Sequencer) Submit(events []event.Event) (*Pending, error) {
	r := &request{events: events, keys: make([]uint64, len(events)), done: make(chan struct{})}
	for i, e := range events {
		r.keys[i] = keyindex.EventKey(e.Source, e.ID)
		r.bytes += e.EntrySize()
	}
	if err := s.queue.put(r); err != nil {
		return nil, err
	}
	return &Pending{r}, nil
}

// A Pending is what was submitted together.
type Pending struct{ r *request }

// Done is closed once the events are durable, or are known not to be taken.
func (p *Pending) Done() <-chan struct{} { return p.r.done }

// Results returns, once Done is closed, what Append returns.
func (p *Pending) Results() ([]Result, error) { return p.r.results, p.r.err }

// Run takes the log's lease whenever it can be had and writes while it holds
// it, until the context ends. What was queued by then is committed first.
func (s *Sequencer) Run(ctx context.Context) {
	logger := s.cfg.Logger
	for ctx.Err() == nil {
		err := s.lead(ctx)
		s.settle()
		if err == nil || ctx.Err() != nil {
			continue
		}
		delay := reloadDelay
		switch {
		case errors.Is(err, storage.ErrLeased):
			delay = leaseRetry
			logger.Debug("another server writes to this log")
		case errors.Is(err, storage.ErrDamaged):
			delay = damagedRetry
			fallthrough
		default:
			s.stats.Failures.Add(1)
			logger.Error("sequencing stopped, trying again", "error", err, "after", delay)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// lead writes to the log for one epoch.
func (s *Sequencer) lead(ctx context.Context) error {
	lease, err := s.cfg.Log.Lead(ctx)
	if err != nil {
		return err
	}
	defer lease.Release()
	b, err := newBuilder(ctx, s.cfg, &s.stats, lease.Epoch())
	if err != nil {
		return err
	}
	s.cfg.Committed(b.head)
	s.cfg.Logger.Info("writing to log", "epoch", lease.Epoch(), "tree_size", b.head.Size)

	// Leading ends with the lease or with the first error; draining, with the
	// caller's context, ends once the queue is empty.
	leading, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s.queue.open()
	s.settle()
	stop := context.AfterFunc(ctx, s.queue.close)
	defer stop()

	var wg sync.WaitGroup
	commits := make(chan *batch)
	wg.Go(func() { s.build(leading, cancel, b, commits) })
	wg.Go(func() { s.commit(leading, cancel, b, commits) })
	wg.Go(func() { b.dedup.follow(leading) })
	wg.Go(func() {
		select {
		case <-lease.Lost():
			cancel(storage.ErrFenced)
		case <-leading.Done():
		}
		s.queue.close()
	})
	wg.Wait()
	s.queue.fail(ErrNotLeading)
	return context.Cause(leading)
}

// errDrained ends an epoch whose queue was closed and has run empty.
var errDrained = errors.New("drained")

// build turns requests into batches until there are no more.
func (s *Sequencer) build(ctx context.Context, cancel context.CancelCauseFunc, b *builder, commits chan<- *batch) {
	defer close(commits)
	for {
		requests := s.queue.take(ctx, maxBatch)
		if len(requests) == 0 {
			return
		}
		next, err := b.build(ctx, requests)
		if err != nil {
			cancel(fmt.Errorf("build batch: %w", err))
			failAll(requests, fmt.Errorf("%w: %w", ErrUncertain, err))
			return
		}
		commits <- next
	}
}

// commit makes batches durable, one after the other, and answers them.
func (s *Sequencer) commit(ctx context.Context, cancel context.CancelCauseFunc, b *builder, commits <-chan *batch) {
	var failed error
	for next := range commits {
		if failed == nil && len(next.Chunks) > 0 {
			if failed = s.cfg.Log.Commit(ctx, next.Batch); failed != nil {
				cancel(fmt.Errorf("commit: %w", failed))
			}
		}
		if failed != nil {
			failAll(next.requests, fmt.Errorf("%w: %w", ErrUncertain, failed))
			continue
		}
		if len(next.Chunks) > 0 {
			s.stats.Commits.Add(1)
			s.stats.Entries.Add(next.Head.Size - next.Base)
			s.cfg.Committed(next.Head)
		}
		b.committed(next)
		s.queue.done()
		for _, r := range next.requests {
			close(r.done)
		}
	}
	cancel(errDrained)
}

func failAll(requests []*request, err error) {
	for _, r := range requests {
		r.err = err
		close(r.done)
	}
}
