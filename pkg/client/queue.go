package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A queue streams the events of a Handler to the log, in order. Callers put events
// into items; one goroutine, run, moves them to pending and sends them. An event
// is in one of these two until the server has answered for it or it is given up,
// and holds a token of room until then, which bounds the memory.
type queue struct {
	client  *Client
	wait    time.Duration
	onError func(error)
	lost    atomic.Uint64

	room   chan struct{} // holds a token for each record that is queued or pending
	mu     sync.RWMutex  // held for reading to send to items, for writing to close it
	closed bool
	items  chan item

	stop context.CancelFunc // ends run, which then gives up what is left
	done chan struct{}      // closed when run has ended: all is sent or lost
}

// An item is an event or, if flushed is not nil, a mark in the queue: flushed is
// closed when all events before it are sent or lost.
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

// lose counts and reports n events that are lost for err, and returns the report.
func (q *queue) lose(n int, err error) error {
	total := q.lost.Add(uint64(n))
	err = fmt.Errorf("log handler: %d records lost, %d in total: %w", n, total, err)
	q.onError(err)
	return err
}

// put queues an event. It waits while the queue is full, for at most q.wait; then
// the event is lost, and the error is the report.
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

// flush waits until the events that were put before are sent or lost.
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

// end lets run end once it has sent what is queued. It reports whether it was the
// first to do so.
func (q *queue) end() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	close(q.items)
	return true
}

// abandon ends the queue of a handler that is garbage.
func (q *queue) abandon() {
	if q.end() {
		q.onError(fmt.Errorf("log handler: dropped without Close; %d records are still on their way", len(q.room)))
	}
}

// close sends what is queued and ends run. If the context ends first, what is left
// is lost.
func (q *queue) close(ctx context.Context) error {
	q.end()
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

// run sends the queued events until the queue is closed and empty. An error that
// may pass delays them; after any other, the pending ones are lost and it goes on
// with the rest.
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
			q.onError(fmt.Errorf("log handler: %d records, and those still queued, are delayed: %w", len(p.events), err))
			// Stream has tried again for the client's retryFor; begin another one.
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

// A pending holds the events that were taken out of the queue and are neither
// answered nor lost. A stream that fails leaves them here for the next one.
type pending struct {
	queue *queue
	ended bool // the queue is closed, and nothing is pending

	mu     sync.Mutex
	events [][]byte // in order
	marks  []mark   // in order
}

// A mark is a flush that waits for the events before it.
type mark struct {
	before  int // number of pending events before it
	flushed chan struct{}
}

// send streams the pending events and then the queued ones to the log, until the
// queue is closed or the stream fails.
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

// take yields the pending events, and then those that it takes out of the queue
// and makes pending, until the queue is closed.
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

// add makes an item of the queue pending. It reports whether that is an event.
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

// answered removes the first n events, gives back their room, and closes the marks
// behind them.
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

// lose gives up the pending events.
func (p *pending) lose(err error) {
	if n := len(p.events); n > 0 {
		_ = p.queue.lose(n, err)
		p.answered(n)
	}
}

// loseAll gives up the pending and the queued events. The queue must be closed.
func (p *pending) loseAll(err error) {
	for it := range p.queue.items {
		p.add(it)
	}
	p.lose(err)
	p.ended = true
}
