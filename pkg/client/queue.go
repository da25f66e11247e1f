package client

import (
	"context"
	"fmt"
	"slices"
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

	room   chan struct{} // holds a token for each record that is queued or pending
	mu     sync.RWMutex  // held for writing to close items
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
		room: make(chan struct{}, cfg.Queue), items: make(chan item, cfg.Queue), stop: stop, done: make(chan struct{}),
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
	if err := q.makeRoom(ctx); err != nil {
		return q.lose(1, err)
	}
	q.items <- item{event: event}
	return nil
}

// makeRoom waits for room for a record, for a limited time.
func (q *queue) makeRoom(ctx context.Context) error {
	select {
	case q.room <- struct{}{}:
		return nil
	default:
	}
	full := time.NewTimer(q.wait)
	defer full.Stop()
	select {
	case q.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the queue is full: %w", ctx.Err())
	case <-full.C:
		return fmt.Errorf("the queue was full for %v", q.wait)
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

// run sends what is queued until the queue is closed.
func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	defer q.stop()
	p := &pending{queue: q}
	for !p.ended {
		err := p.send(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			p.loseAll(ctx.Err())
		case !mayPass(err):
			p.lose(err)
		default:
			q.onError(fmt.Errorf("log handler: %d records and what is queued are delayed: %w", len(p.events), err))
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

// A pending is what was taken out of the queue and is neither in the log nor
// lost.
type pending struct {
	queue *queue
	ended bool // the queue is closed, and nothing is pending

	mu     sync.Mutex
	events [][]byte
	marks  []mark
}

// A mark is closed once the events before it are answered.
type mark struct {
	before  int // events
	flushed chan struct{}
}

// send streams what is pending and what is queued to the log until the queue is
// closed, or it fails.
func (p *pending) send(ctx context.Context) error {
	taking, stop := context.WithCancel(ctx)
	taken := make(chan struct{})
	events := func(yield func([]byte) bool) {
		defer close(taken)
		p.take(taking, yield)
	}
	defer func() {
		stop()
		<-taken
	}()
	for r, err := range p.queue.client.Stream(ctx, events) {
		if err != nil {
			return err
		}
		p.answered(1)
		if r.Err != nil {
			_ = p.queue.lose(1, r.Err)
		}
	}
	p.ended = true
	return nil
}

// take yields the events that are pending, and then those that it takes out of
// the queue, until the queue is closed.
func (p *pending) take(ctx context.Context, yield func([]byte) bool) {
	p.mu.Lock()
	again := slices.Clone(p.events)
	p.mu.Unlock()
	for _, e := range again {
		if !yield(e) {
			return
		}
	}
	for {
		select {
		case it, ok := <-p.queue.items:
			if !ok {
				return
			}
			if !p.add(it) {
				continue
			}
			if !yield(it.event) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// add adds an item of the queue. It reports whether it is an event.
func (p *pending) add(it item) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if it.flushed == nil {
		p.events = append(p.events, it.event)
		return true
	}
	p.marks = append(p.marks, mark{len(p.events), it.flushed})
	p.closeMarks()
	return false
}

// answered forgets the first n events.
func (p *pending) answered(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = p.events[n:]
	for range n {
		<-p.queue.room
	}
	for i := range p.marks {
		p.marks[i].before -= n
	}
	p.closeMarks()
}

func (p *pending) closeMarks() {
	for len(p.marks) > 0 && p.marks[0].before <= 0 {
		close(p.marks[0].flushed)
		p.marks = p.marks[1:]
	}
}

// lose gives up what is pending.
func (p *pending) lose(err error) {
	if n := len(p.events); n > 0 {
		_ = p.queue.lose(n, err)
		p.answered(n)
	}
}

// loseAll gives up what is pending and all that is queued.
func (p *pending) loseAll(err error) {
	for it := range p.queue.items {
		p.add(it)
	}
	p.lose(err)
	p.ended = true
}
