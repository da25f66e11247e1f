package sequencer

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// A request is one call of Submit. Its results and err are set before done is
// closed, and are read only after.
type request struct {
	events  []event.Event
	bytes   int      // of the entries
	dedup   *dedup   // of the epoch in which the events were looked for
	keys    []uint64 // of the events, in the key index
	lookup  lookup
	results []Result
	err     error
	done    chan struct{}
	since   time.Time // when it was put into the queue
}

// A queue holds requests until they are built into batches, up to a number of
// bytes. Any number of goroutines put requests; one takes them. It also decides
// when the builder works: at once while nothing is being committed, and ahead of
// the commit only if that is worth it.
type queue struct {
	max     int           // bytes
	ready   chan struct{} // holds a token if there may be something to take
	refused chan struct{} // closed by refuse

	mu       sync.Mutex
	requests []*request
	events   int         // of requests
	bytes    int         // of requests
	inFlight []time.Time // of each batch taken and not done, since when its first request has waited
	dedup    *dedup      // of the epoch; nil while the queue is closed
	reason   error       // why it is never opened again; nil if it may be
	began    time.Time   // when the commit under way began; zero if there is none
}

// minAhead is the least number of events of which a batch is built while another
// is in flight. Fewer are held back, so that they are committed together with
// those that arrive meanwhile.
const minAhead = 512

func newQueue(maxBytes int) queue {
	return queue{max: maxBytes, ready: make(chan struct{}, 1), refused: make(chan struct{})}
}

// open lets requests of an epoch in, unless refuse was called. No batch is in flight
// yet.
func (q *queue) open(d *dedup) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reason == nil {
		q.dedup, q.inFlight = d, nil
	}
}

// refuse closes the queue for good. Requests in it are left to fail.
func (q *queue) refuse(reason error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reason == nil {
		q.reason, q.dedup = reason, nil
		close(q.refused)
	}
}

// refusal returns the reason given to refuse, or nil.
func (q *queue) refusal() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.reason
}

// close lets no more requests in. Those that are there are still taken.
func (q *queue) close() {
	q.mu.Lock()
	q.dedup = nil
	q.mu.Unlock()
	q.signal()
}

// done takes a batch out of flight, so that the next may be taken.
func (q *queue) done() {
	q.mu.Lock()
	q.inFlight = q.inFlight[1:]
	q.mu.Unlock()
	q.signal()
}

func (q *queue) isOpen() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dedup != nil
}

// waiting returns how many bytes of events are queued.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// oldest returns for how long the oldest request that is not answered has waited; 0 if
// there is none.
func (q *queue) oldest() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.inFlight) > 0:
		return time.Since(q.inFlight[0])
	case len(q.requests) > 0:
		return time.Since(q.requests[0].since)
	}
	return 0
}

// signal makes take look at the queue, now or when it is next called.
func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// committing takes note of when a commit began, or, with the zero time, that it has
// ended.
func (q *queue) committing(began time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.began = began
}

// commitAge returns for how long a commit has been under way, 0 if there is none.
func (q *queue) commitAge() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.age()
}

// age is commitAge with mu held.
func (q *queue) age() time.Duration {
	if q.began.IsZero() {
		return 0
	}
	return time.Since(q.began)
}

// admit returns what the events of a request of some bytes are to be looked for in, or
// the error of put.
func (q *queue) admit(bytes int) (*dedup, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dedup, q.check(bytes)
}

// check returns ErrNotLeading, ErrStalled, ErrBusy, the refusal or nil, with mu held. An empty queue
// takes a request of any size, since one larger than max would otherwise never be taken.
func (q *queue) check(bytes int) error {
	if q.dedup == nil {
		return cmp.Or(q.reason, ErrNotLeading)
	}
	if q.age() > slowCommit {
		return ErrStalled
	}
	if len(q.requests) > 0 && q.bytes+bytes > q.max {
		return ErrBusy
	}
	return nil
}

// put adds a request, unless check returns an error or its epoch is over.
func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.check(r.bytes); err != nil {
		return err
	}
	if r.dedup != q.dedup {
		return ErrNotLeading
	}
	r.since = time.Now()
	q.requests = append(q.requests, r)
	q.events += len(r.events)
	q.bytes += r.bytes
	if !q.holdsBack() {
		q.signal()
	}
	return nil
}

// holdsBack reports whether the requests are left to wait for the batch in
// flight. A closed queue holds nothing back: it is being emptied.
func (q *queue) holdsBack() bool { return q.dedup != nil && len(q.inFlight) > 0 && q.events < minAhead }

// take waits for requests and returns those at the front, whole, until they
// hold about maxEvents events; they are in flight until done is called. It
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

// front takes the requests at the front, none if they are held back.
func (q *queue) front(maxEvents int) (taken []*request, opened bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.holdsBack() {
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
		q.inFlight = append(q.inFlight, taken[0].since)
	}
	if len(q.requests) > 0 || q.dedup == nil {
		q.signal()
	}
	return taken, q.dedup != nil
}

// fail closes the queue and answers all requests in it with the refusal, if there is
// one, or an error.
func (q *queue) fail(err error) {
	q.mu.Lock()
	taken := q.requests
	q.requests, q.events, q.bytes, q.inFlight, q.dedup = nil, 0, 0, nil, nil
	err = cmp.Or(q.reason, err)
	q.mu.Unlock()
	failAll(taken, err)
}
