// Package sequencer is the only writer of a log: it gives events their indexes,
// integrates them into the tree, and makes both durable.
//
//	Append -> look up -> queue -> build -> commit -> reply
//
// Group commit: what arrives while one batch commits becomes the next batch,
// and that batch is built (deduplicated, rendered, hashed, compressed) while
// the one before it still commits. There is no timer: a lone event is committed
// at once.
//
// Invariants, and what a crash leaves behind at each step:
//
//   - look up: what the log has of a request's events already is found by the
//     request's own goroutine, so that duplicates keep no other request waiting.
//   - build: nothing is stored. A crash loses only events that are not
//     acknowledged.
//   - commit: entries, full tiles and head become durable in one transaction. A
//     crash leaves all or nothing, and nothing is acknowledged yet; the sender
//     repeats its events, and deduplication gives back those that were stored.
//   - reply: every event in it is durable and integrated, duplicates included:
//     a duplicate is answered only after the batch that holds its original.
//   - After a commit whose outcome is unknown the sequencer drops its state in
//     memory and reads the log again. It never guesses.
//   - Nothing is written on top of a head that cannot be signed: the stored head is
//     proven before the queue opens, and [Sequencer.Refuse] ends the writing.
//   - An event with the (source, id) of an entry is that entry, for ever: the
//     same content gets its index, other content gets a [ConflictError].
//
// A Sequencer is safe for concurrent use. While it holds the log's lease one goroutine
// builds, one commits, one feeds the key index and one watches the lease; the first of
// them to fail ends them all.
package sequencer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

var (
	// ErrBusy means that the queue is full. Nothing was stored; the caller may try
	// again in a second or so.
	ErrBusy = errors.New("the queue of this log is full")

	// ErrNotLeading means that this sequencer does not hold the log's lease.
	// Nothing was stored.
	ErrNotLeading = errors.New("this server is not writing to the log")

	// ErrStalled means that a commit has been under way for too long. Nothing was
	// stored; the caller may try again once the database is quick again.
	ErrStalled = errors.New("the database takes too long to commit")

	// ErrUncertain means that a commit failed in a way that leaves open whether
	// it was stored. Events with the same source and id can be sent again.
	ErrUncertain = errors.New("the commit's outcome is unknown")
)

// A ConflictError refuses an event because an entry has its source and id, but other
// content.
type ConflictError struct {
	Source, ID string
	Index      uint64 // of the entry
	By         string // who has sent it, as in Result
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("entry %d has the source %q and the id %q already, with other content", e.Index, e.Source, e.ID)
}

// A Result is the outcome of one event.
type Result struct {
	Index     uint64         // of the entry
	Leaf      tree.Hash      // of the entry
	Duplicate bool           // the entry existed already
	By        string         // who has sent it then: its recordedby, or empty
	Conflict  *ConflictError // not nil: the event was refused, all else is zero
}

// Config configures a Sequencer.
type Config struct {
	Log    storage.Log
	Reader *storage.Reader // of Log
	Logger *slog.Logger
	Now    func() time.Time // the clock of recordedtime
	URL    string           // that others reach this server by; they are told while it writes

	// Prove is called with the stored head each time the lease was taken, before
	// anything is written on top of that head. An error keeps the queue closed: the
	// lease is given up, and taken again a little later unless Refuse was called.
	Prove func(context.Context, tree.Head) error

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

	leaseRetry   = time.Second            // while another server holds the lease
	reloadDelay  = 500 * time.Millisecond // after a failure
	damagedRetry = time.Minute            // an operator has to restore the log first
	logEvery     = 10 * time.Second       // while there is one failure after another

	// slowCommit is how long a commit may take before no more events are let in: they
	// would only wait, and their senders with them.
	slowCommit = 10 * time.Second

	// drainTimeout bounds how long the events that are queued when the server stops may
	// take to be committed.
	drainTimeout = 1500 * time.Millisecond
)

// A Sequencer writes to one log.
type Sequencer struct {
	cfg     Config
	queue   queue
	stats   Stats
	settled chan struct{} // see Settled
	settle  func()        // closes settled
	logged  time.Time     // of Run: when the last failure was logged; zero if it has led since
	expires time.Time     // of Run: when another server's lease was last seen to expire

	writer  atomic.Pointer[string] // see Writer
	failure atomic.Pointer[error]  // see Failure
}

// Stats are counters of a Sequencer since it was made.
type Stats struct {
	Entries, Bytes, Duplicates, Conflicts, Commits, Failures atomic.Uint64 // Bytes of compressed entries
}

// New returns a Sequencer that accepts events once it runs and holds the lease.
func New(cfg Config) *Sequencer {
	if cfg.MaxQueue == 0 {
		cfg.MaxQueue = defaultMaxQueue
	}
	s := &Sequencer{cfg: cfg, queue: newQueue(cfg.MaxQueue), settled: make(chan struct{})}
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	return s
}

// Stats returns the counters themselves, not a copy.
func (s *Sequencer) Stats() *Stats { return &s.stats }

// Leading reports whether the sequencer holds the log's lease and accepts
// events.
func (s *Sequencer) Leading() bool { return s.queue.isOpen() }

// Writer returns the URL of the server that holds the log's lease, this one or another,
// or "" if that is not known.
func (s *Sequencer) Writer() string {
	if url := s.writer.Load(); url != nil {
		return *url
	}
	return ""
}

// Failure returns why the sequencer has failed last, if it has not led since, or nil.
func (s *Sequencer) Failure() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Settled is closed once the sequencer has first taken the log's lease, or has failed to,
// or it is known that another is alive and has it.
func (s *Sequencer) Settled() <-chan struct{} { return s.settled }

// QueuedBytes returns the number of bytes of events in the queue.
func (s *Sequencer) QueuedBytes() int { return s.queue.waiting() }

// CommitAge returns for how long a commit has been under way, 0 if there is none.
func (s *Sequencer) CommitAge() time.Duration { return s.queue.commitAge() }

// Stalled reports whether a commit has been under way for so long that no more events
// are let in.
func (s *Sequencer) Stalled() bool { return s.CommitAge() > slowCommit }

// Append gives each event an index, in order, and returns once all are durable.
// The events become adjacent entries, all of them or none. The error is ErrBusy,
// ErrNotLeading, ErrStalled, the reason given to Refuse or one of reading the log, and nothing was
// stored; or ErrUncertain or the context's, and the events may have been stored, or be
// stored later.
func (s *Sequencer) Append(ctx context.Context, events []event.Event) ([]Result, error) {
	p, err := s.Submit(ctx, events)
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

// Submit looks events up in the log and queues them, as Append does, and does not wait
// for them: of two calls one after the other, the events of the first are stored first.
// The error is ErrBusy, ErrNotLeading, ErrStalled or the reason given to Refuse, or one of reading
// the log or of the context, and nothing is stored then.
func (s *Sequencer) Submit(ctx context.Context, events []event.Event) (*Pending, error) {
	r := &request{events: events, done: make(chan struct{})}
	for i := range events {
		r.bytes += events[i].EntrySize()
	}
	var err error
	if r.dedup, err = s.queue.admit(r.bytes); err != nil {
		return nil, err
	}
	r.keys = r.dedup.keysOf(events)
	if r.lookup, err = r.dedup.look(ctx, events, r.keys); err != nil {
		return nil, fmt.Errorf("look the events up in the log: %w", err)
	}
	if err := s.queue.put(r); err != nil {
		return nil, err
	}
	return &Pending{r}, nil
}

// A Pending stands for events that were submitted together.
type Pending struct{ r *request }

// Done returns a channel that is closed once Results can be called.
func (p *Pending) Done() <-chan struct{} { return p.r.done }

// Results returns the same as Append, in the order of the events. It must not be
// called before Done is closed.
func (p *Pending) Results() ([]Result, error) { return p.r.results, p.r.err }

// Refuse ends the writing for good: no commit begins from now on, the lease is given
// up, and Submit fails with the reason. The first reason stays. It does not wait for a
// commit that is under way.
func (s *Sequencer) Refuse(reason error) {
	s.queue.refuse(fmt.Errorf("nothing was stored, as nothing is written to this log any more: %w", reason))
}

// Run takes the log's lease whenever it can be had and writes while it holds
// it, until the context ends. Events that were queued by then are committed first,
// unless that takes more than a second or two.
// After a failure it starts again from the stored log. It is called once.
func (s *Sequencer) Run(ctx context.Context) {
	for ctx.Err() == nil && s.queue.refusal() == nil {
		err := s.lead(ctx)
		if err == nil || ctx.Err() != nil || s.queue.refusal() != nil {
			s.settle()
			continue
		}
		delay := reloadDelay
		switch {
		case errors.Is(err, storage.ErrLeased):
			delay = leaseRetry
			s.leased(err)
		case errors.Is(err, storage.ErrDamaged):
			delay = damagedRetry
			fallthrough
		default:
			s.failed(err, delay)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
}

// leased takes note of which server holds the lease, and logs it if it is another than
// before. The holder may have died, for instance if it is this server before a crash.
// So nothing is settled until it has been seen to renew its lease.
func (s *Sequencer) leased(err error) {
	other, ok := errors.AsType[*storage.LeasedError](err)
	if !ok {
		other = &storage.LeasedError{}
	}
	if !ok || !s.expires.IsZero() && !s.expires.Equal(other.Expires) {
		s.settle()
	}
	s.expires = other.Expires
	if before := s.writer.Swap(&other.Holder); before == nil || *before != other.Holder {
		s.cfg.Logger.Info("waiting: another server holds the lease of this log", "holder", other.Holder)
	}
}

// failed counts a failure, and logs it unless it follows another closely.
func (s *Sequencer) failed(err error, delay time.Duration) {
	s.stats.Failures.Add(1)
	s.failure.Store(&err)
	s.writer.Store(nil)
	s.settle()
	if time.Since(s.logged) < logEvery {
		return
	}
	s.logged = time.Now()
	s.cfg.Logger.Error("sequencing stopped, trying again", "error", err, "after", delay)
}
