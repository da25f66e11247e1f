package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A queue sends events from a goroutine of its own, in order.
type queue struct {
	client  *Client
	wait    time.Duration
	onError func(error)
	lost    atomic.Uint64

	mu     sync.RWMutex // held for writing to close items
	closed bool
	items  chan item

	stop context.CancelFunc // gives up what is being sent
	done chan struct{}      // closed when all is sent or lost
}

// An item is an event or, if flushed is not nil, a place in the queue: flushed
// is closed when all before it is sent or lost.
type item struct {
	event   []byte
	flushed chan struct{}
}

func newQueue(cfg HandlerConfig) *queue {
	ctx, stop := context.WithCancel(context.Background())
	q := &queue{
		client: cfg.Client, wait: cfg.Wait, onError: cfg.OnError,
		items: make(chan item, cfg.Queue), stop: stop, done: make(chan struct{}),
	}
	go q.run(ctx)
	return q
}

// lose counts and reports events that are lost, and returns the report.
func (q *queue) lose(n int, err error) error {
	total := q.lost.Add(uint64(n))
	err = fmt.Errorf("log handler: %d records lost, %d in total: %w", n, total, err)
	q.onError(err)
	return err
}

// put queues an event, for which it may have to wait.
func (q *queue) put(ctx context.Context, event []byte) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return q.lose(1, ErrClosed)
	}
	it := item{event: event}
	select {
	case q.items <- it:
		return nil
	default:
	}
	full := time.NewTimer(q.wait)
	defer full.Stop()
	select {
	case q.items <- it:
		return nil
	case <-ctx.Done():
		return q.lose(1, fmt.Errorf("the queue is full: %w", ctx.Err()))
	case <-full.C:
		return q.lose(1, fmt.Errorf("the queue was full for %v", q.wait))
	}
}

func (q *queue) flush(ctx context.Context) error {
	it := item{flushed: make(chan struct{})}
	if err := q.putMark(ctx, it); err != nil {
		return err
	}
	select {
	case <-it.flushed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush log handler: %w", ctx.Err())
	}
}

func (q *queue) putMark(ctx context.Context, it item) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return ErrClosed
	}
	select {
	case q.items <- it:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush log handler: %w", ctx.Err())
	}
}

func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.items)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
	}
	before := q.lost.Load()
	q.stop()
	<-q.done
	if n := q.lost.Load() - before; n > 0 {
		return fmt.Errorf("close log handler: %d records lost: %w", n, ctx.Err())
	}
	return nil
}

// run sends what is queued until the queue is closed. What comes while a batch
// is on its way makes the next one.
func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	defer q.stop()
	for first := range q.items {
		events, flushed := q.collect(first)
		q.send(ctx, events)
		if flushed != nil {
			close(flushed)
		}
	}
}

// collect returns the events that are queued, from the first item on, up to a
// batch of them or a mark.
func (q *queue) collect(first item) (events [][]byte, flushed chan struct{}) {
	for it := first; ; {
		if it.flushed != nil {
			return events, it.flushed
		}
		if events = append(events, it.event); len(events) == maxBatch {
			return events, nil
		}
		select {
		case next, ok := <-q.items:
			if !ok {
				return events, nil
			}
			it = next
		default:
			return events, nil
		}
	}
}

// send sends events until they are in the log or lost, in spite of failures
// that may pass.
func (q *queue) send(ctx context.Context, events [][]byte) {
	for len(events) > 0 {
		results, err := q.client.AppendJSON(ctx, events...)
		if err == nil {
			return
		}
		var left [][]byte
		for i, r := range results {
			switch {
			case r.Err == nil:
			case errors.Is(r.Err, ErrRefused):
				_ = q.lose(1, r.Err)
			default:
				left = append(left, events[i])
			}
		}
		events = left
		p, answered := errors.AsType[*Problem](err)
		switch {
		case len(left) == 0:
		case ctx.Err() != nil, answered && !p.mayPass():
			_ = q.lose(len(left), err)
			return
		default:
			q.onError(fmt.Errorf("log handler: %d records and what is queued are delayed: %w", len(left), err))
			// The client has tried for long, unless it was told not to.
			q.pause(ctx)
		}
	}
}

func (q *queue) pause(ctx context.Context) {
	select {
	case <-time.After(q.wait):
	case <-ctx.Done():
	}
}
