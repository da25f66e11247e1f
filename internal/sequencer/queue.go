package sequencer

import (
	"context"
	"sync"

	"github.com/stele-log/stele/pkg/event"
)

// A request is one call of Append. Its results and err are set before done is
// closed.
type request struct {
	events  []event.Event
	keys    []uint64 // of the events, in the key index
	bytes   int      // of the entries
	results []Result
	err     error
	done    chan struct{}
}

// A queue holds requests until they are built, up to a number of bytes.
type queue struct {
	max   int
	ready chan struct{} // holds a token if there may be something to take

	mu       sync.Mutex
	requests []*request
	events   int // of requests
	bytes    int // of requests
	under    int // batches taken and not done
	opened   bool
}

// worthAhead is the number of events that are worth building a batch of while
// another is under way. Fewer are left to wait, so that they are committed
// together with those that come meanwhile.
const worthAhead = 512

func newQueue(maxBytes int) queue {
	return queue{max: maxBytes, ready: make(chan struct{}, 1)}
}

// open lets requests in; no batch is under way.
func (q *queue) open() {
	q.mu.Lock()
	q.opened, q.under = true, 0
	q.mu.Unlock()
}

func (q *queue) close() {
	q.mu.Lock()
	q.opened = false
	q.mu.Unlock()
	q.signal()
}

// done says that a batch is not under way any more.
func (q *queue) done() {
	q.mu.Lock()
	q.under--
	q.mu.Unlock()
	q.signal()
}

func (q *queue) isOpen() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.opened
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// put adds a request. An empty queue takes one of any size.
func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened {
		return ErrNotLeading
	}
	if len(q.requests) > 0 && q.bytes+r.bytes > q.max {
		return ErrBusy
	}
	q.requests = append(q.requests, r)
	q.events += len(r.events)
	q.bytes += r.bytes
	if !q.waits() {
		q.signal()
	}
	return nil
}

// waits reports whether what is there is left to wait for the batch under way.
func (q *queue) waits() bool { return q.opened && q.under > 0 && q.events < worthAhead }

// take waits for requests and returns those at the front, whole, until they
// hold about maxEvents events; they are under way until done is called. It
// returns none once the context has ended, or the queue is closed and empty.
func (q *queue) take(ctx context.Context, maxEvents int) []*request {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
		taken, opened := q.front(maxEvents)
		if len(taken) > 0 || !opened {
			return taken
		}
	}
}

func (q *queue) front(maxEvents int) (taken []*request, opened bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waits() {
		return nil, true
	}
	n, events := 0, 0
	for n < len(q.requests) && (n == 0 || events+len(q.requests[n].events) <= maxEvents) {
		events += len(q.requests[n].events)
		q.bytes -= q.requests[n].bytes
		n++
	}
	taken = q.requests[:n:n]
	q.requests = q.requests[n:]
	q.events -= events
	if n > 0 {
		q.under++
	}
	if len(q.requests) > 0 || !q.opened {
		q.signal()
	}
	return taken, q.opened
}

// fail answers all that waits with an error.
func (q *queue) fail(err error) {
	q.mu.Lock()
	taken := q.requests
	q.requests, q.events, q.bytes, q.opened = nil, 0, 0, false
	q.mu.Unlock()
	failAll(taken, err)
}
