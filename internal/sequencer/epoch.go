package sequencer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stele-log/stele/storage"
)

// This file is one epoch of writing: what is done while the lease is held, from a queue of
// requests to durable batches that are answered.

// errLeaseLost ends an epoch whose lease has ended. It does not name a reason: the
// next attempt to take the lease finds out who has it, if anybody.
var errLeaseLost = errors.New("the lease of this log has ended")

// lead writes to the log for one epoch: from taking the lease to losing it, failing,
// or draining. All state in memory is built here and dropped at the end, so that no
// epoch trusts what another one left behind.
func (s *Sequencer) lead(ctx context.Context) error {
	lease, err := s.cfg.Log.Lead(ctx, s.cfg.URL)
	if err != nil {
		return err
	}
	defer lease.Release()
	b, err := newBuilder(ctx, s.cfg, &s.stats, lease.Epoch())
	if err != nil {
		return err
	}
	s.cfg.Committed(b.head)
	s.logged = time.Time{}
	s.failure.Store(nil)
	s.writer.Store(&s.cfg.URL)
	s.cfg.Logger.Info("writing to log", "epoch", lease.Epoch(), "tree_size", b.head.Size)

	// Leading ends with the lease or with the first error; draining, with the
	// caller's context, ends once the queue is empty, or after drainTimeout.
	leading, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s.queue.open(b.dedup)
	s.settle()
	stop := context.AfterFunc(ctx, func() {
		s.queue.close()
		time.AfterFunc(drainTimeout, func() { cancel(errNotDrained) })
	})
	defer stop()

	var wg sync.WaitGroup
	commits := make(chan *batch)
	wg.Go(func() { s.build(leading, cancel, b, commits) })
	wg.Go(func() { s.commit(leading, cancel, b, commits) })
	wg.Go(func() { b.dedup.follow(leading) })
	wg.Go(func() {
		select {
		case <-lease.Lost():
			cancel(errLeaseLost)
		case <-s.queue.refused:
			cancel(errRefused)
		case <-leading.Done():
		}
		s.queue.close()
	})
	wg.Wait()
	s.queue.fail(ErrNotLeading)
	return context.Cause(leading)
}

var (
	// errDrained ends an epoch whose queue was closed and has run empty.
	errDrained = errors.New("drained")

	// errNotDrained ends an epoch whose queue was closed and is not empty in time.
	errNotDrained = errors.New("the server is stopping, and the database is slow")

	// errRefused ends an epoch by Refuse. It does not wrap the reason, as it answers
	// requests whose commit was under way, and whose outcome is unknown.
	errRefused = errors.New("nothing is written to this log any more")
)

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

// commit makes batches durable, one after the other, and answers them. After a
// failure or a refusal it commits nothing more, since later batches build on the failed
// one; they are answered with the same error.
func (s *Sequencer) commit(ctx context.Context, cancel context.CancelCauseFunc, b *builder, commits <-chan *batch) {
	var failed error
	for next := range commits {
		if failed == nil {
			if failed = s.store(ctx, next); failed != nil {
				cancel(failed)
			}
		}
		if failed != nil {
			failAll(next.requests, failed)
			continue
		}
		b.committed(next)
		s.queue.done()
		for _, r := range next.requests {
			close(r.done)
		}
	}
	cancel(errDrained)
}

// store makes what a batch adds durable. After a refusal it stores nothing; what was
// under way then may be stored, and must not be acknowledged.
func (s *Sequencer) store(ctx context.Context, next *batch) error {
	if err := s.queue.refusal(); err != nil || len(next.Chunks) == 0 {
		return err
	}
	err := s.timed(ctx, next.Batch)
	if err == nil && s.queue.refusal() != nil {
		err = errRefused
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	s.stats.Commits.Add(1)
	s.stats.Entries.Add(next.Head.Size - next.Base)
	s.stats.Bytes.Add(next.bytes())
	s.cfg.Committed(next.Head)
	return nil
}

// timed commits a batch. If that takes long it is logged, twice: while it lasts, and
// once it has ended.
func (s *Sequencer) timed(ctx context.Context, batch storage.Batch) error {
	start := time.Now()
	s.queue.committing(start)
	slow := time.AfterFunc(slowCommit, func() {
		s.cfg.Logger.Warn("a commit takes long; new events are refused until it ends", "after", slowCommit,
			"entries", batch.Head.Size-batch.Base)
	})
	err := s.cfg.Log.Commit(ctx, batch)
	s.queue.committing(time.Time{})
	if !slow.Stop() {
		s.cfg.Logger.Warn("the commit that took long has ended", "elapsed", time.Since(start), "error", err)
	}
	return err
}

// failAll answers requests with an error.
func failAll(requests []*request, err error) {
	for _, r := range requests {
		r.err = err
		close(r.done)
	}
}
