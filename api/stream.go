package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
)

// This file serves POST /logs/{log}/events as a stream: NDJSON in and out at once,
// for senders of many events that need each of them acknowledged. See stream below
// for how lines flow, and lines.go for how they are read. A stream may have any
// number of lines; bounded are the line (maxLine), the groups that are not answered
// yet (maxInFlight) and every time that nothing moves (maxIdle, maxStall).

const (
	// maxStallAtEnd is how long a client may take to read its results once the
	// server is stopping.
	maxStallAtEnd = 2 * time.Second

	// heartbeatEvery is the longest silence in a stream of results. Proxies often
	// cut connections that are silent for a minute.
	heartbeatEvery = 15 * time.Second

	// maxIdle bounds the time from one line to the next. A stream that is idle
	// longer ends with status 408 in its last line.
	maxIdle = 10 * time.Minute

	// maxInFlight bounds the groups of a stream that are read and not answered.
	// Beyond it nothing more is read, so TCP slows the sender down.
	maxInFlight = 8

	// resultBuffer is how many bytes of results are put together, and written, at a time.
	resultBuffer = 8 << 10

	// busyPause is how long a stream waits for room in the log's queue, or for memory,
	// before it tries again.
	busyPause = 20 * time.Millisecond
)

// A stream is a request whose lines are events and whose reply has a line for
// each of them, written as soon as the event is durable.
//
//	body -> read: whole lines, many at a time -> Submit -> groups -> write -> reply
//
// One goroutine reads, and the handler's own writes. A client that does not read
// its results is not read from either.
//
// The reader ends first and closes groups: at the end of the body, when stop cuts
// the body off, or when the log takes no more events. The writer answers what was
// read by then, writes the reason if it is not the client's, and returns. If the
// client leaves instead, the writer fails, closes gone, and the reader follows.
type stream struct {
	log      *engine.Log
	from     event.Sender
	may      func() (access.Permit, error) // what the sender may write by now
	spend    func(events, bytes int) error // why it may not write so much yet
	refused  func(error)                   // notes what was refused
	conceal  func([]appended)              // hides what is of others
	memory   *claim                        // of buffers, and of groups until they are answered
	body     *deadlineReader
	lines    *lineReader
	groups   chan *group     // read, in order; closed when reading has ended
	gone     chan struct{}   // closed when the writer has returned
	ctx      context.Context // of the request
	stopping context.Context

	end error // why reading ended, once groups is closed

	out     *bufio.Writer
	control *http.ResponseController
	beat    *time.Ticker
	results []appended // of a group; kept to be used again
}

// A group is the events of lines that arrived together. They are submitted as one,
// so their indexes are adjacent.
type group struct {
	items   []event.Item
	memory  int                // claimed for them, in bytes
	pending *sequencer.Pending // of those that are events; nil if there are none
	err     error              // why the events were not taken; it ends the stream
}

// wantsStream reports whether a request is a stream: it sends lines, and accepts
// lines. Either alone is a batch. HTTP/1.0 has no chunked bodies to stream with.
func wantsStream(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return false
	}
	contentType, err := mediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(linesTypes, contentType) {
		return false
	}
	return slices.ContainsFunc(linesTypes, func(name string) bool { return accepts(r.Header["Accept"], name) })
}

// streamEvents appends the events of a stream until the client ends it, the
// server stops, or something fails that is not the fault of one event. Errors
// before the first line are returned; once the reply's header is sent they are
// lines, and the only error returned is errClientLeft.
func (s *server) streamEvents(w http.ResponseWriter, r *http.Request, l *engine.Log) error {
	if r.URL.Query().Has("wait") {
		return badRequest("a stream does not wait for receipts; ask for them by index, at events/{index}/receipt?wait=published")
	}
	if _, err := contentCoding(w, r, streamCodings); err != nil {
		return err
	}
	control := http.NewResponseController(w)
	if err := control.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	memory := s.memory.claimLong()
	defer memory.release()
	if err := memory.take(resultBuffer); err != nil {
		return err
	}
	st := &stream{
		log: l, from: senderOf(r), memory: memory, ctx: r.Context(), stopping: s.Stopping, control: control,
		may:     func() (access.Permit, error) { return s.demand(r, l.Name, access.Writer) },
		spend:   func(events, bytes int) error { return s.spend(r, events, bytes) },
		refused: func(err error) { p, _ := problemOf(err); s.noteRefusal(r, err, p) },
		conceal: func(results []appended) { s.conceal(r, l, results) },
		body:    &deadlineReader{from: r.Body, control: control},
		groups:  make(chan *group, maxInFlight), gone: make(chan struct{}),
		out: bufio.NewWriterSize(w, resultBuffer), beat: time.NewTicker(heartbeatEvery),
	}
	st.lines = &lineReader{from: st.body, memory: memory}
	defer st.beat.Stop()
	startStream(w, r)
	defer s.metrics.streams.Dec()
	s.metrics.streams.Inc()
	return st.run()
}

// endUnread has the reply to a stream that is refused sent at once: net/http would
// first read on, and the client sends nothing before it is answered.
func endUnread(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 {
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	_ = control.SetReadDeadline(time.Now())
	w.Header().Set("Connection", "close")
}

// startStream sends the reply's header before any line is read: clients may wait
// for it before they send.
func startStream(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.Header.Get("Expect") != "" {
		w.WriteHeader(http.StatusContinue) // before the fields of the final reply are set
	}
	h := w.Header()
	h.Set("Content-Type", linesType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies pass lines on as they come
	if r.ProtoMajor == 1 {
		// If the server ends the stream, lines that the client still sends must not
		// be taken for another request.
		h.Set("Connection", "close")
	}
	w.WriteHeader(http.StatusOK)
}

// run answers the stream to its end. The error is errClientLeft or nil: any other
// was written as the last line.
func (st *stream) run() error {
	defer context.AfterFunc(st.stopping, func() {
		st.body.stop()
		_ = st.control.SetWriteDeadline(time.Now().Add(maxStallAtEnd)) // for a write that is blocked
	})()
	var reading sync.WaitGroup
	reading.Go(st.read)
	err := st.write()
	close(st.gone)
	st.body.stop()
	reading.Wait()
	if errors.Is(err, errClientLeft) {
		return err
	}
	return nil
}

// read reads and queues events until the body ends or something fails. A line that
// is too long is an item with an error, in its place, and does not end the stream.
func (st *stream) read() {
	defer close(st.groups)
	for first := 1; ; {
		text, err := st.lines.next()
		if first == 1 {
			if marked := unmark(text); marked != nil {
				st.end = marked
				return
			}
		}
		g := &group{memory: memoryOf(text)}
		if !st.makeRoom(g.memory) {
			st.end = st.explain(errNoMemory, first)
			return
		}
		g.items = parseFrom(text, first, st.from)
		first += countLines(text)
		if tooLong, ok := errors.AsType[*event.Error](err); ok {
			tooLong.Line = first
			first++
			g.items = append(g.items, event.Item{Err: tooLong})
			err = nil
		}
		if len(g.items) > 0 {
			g.pending, g.err = st.submit(g.items, len(text))
			select {
			case st.groups <- g:
			case <-st.gone:
				return
			}
			if g.err != nil {
				return
			}
		} else {
			st.memory.give(g.memory)
		}
		if err != nil {
			st.end = st.explain(err, first)
			return
		}
	}
}

// submit queues the events among items, whose text has some size. While the log's queue is
// full, or the sender's limit is reached, it waits, where a single request would be
// answered with 503 or 429: the client is slowed down, not turned away.
func (st *stream) submit(items []event.Item, size int) (*sequencer.Pending, error) {
	for st.spend(len(items), size) != nil && st.pause() {
	}
	for {
		permit, err := st.may() // the key may have ended while it waited
		if err != nil {
			return nil, err
		}
		if bindSources(items, permit) {
			st.refused(errSource)
		}
		events := validEvents(items)
		if len(events) == 0 {
			return nil, nil
		}
		pending, err := st.log.Sequencer.Submit(st.ctx, events)
		if !errors.Is(err, sequencer.ErrBusy) || !st.pause() {
			return pending, err
		}
	}
}

// makeRoom claims memory for a group. While there is none it waits, as submit does for
// the queue. It reports false if the stream has ended before.
func (st *stream) makeRoom(n int) bool {
	for st.memory.take(n) != nil {
		if !st.pause() {
			return false
		}
	}
	return true
}

// pause waits for busyPause, and reports false if the stream has ended before.
func (st *stream) pause() bool {
	select {
	case <-time.After(busyPause):
		return true
	case <-st.gone:
	case <-st.stopping.Done():
	}
	return false
}

var (
	errClientLeft = errors.New("the client has left")
	errStopping   = statusError{http.StatusServiceUnavailable,
		"the server is stopping; send the events that were not answered again, in a second or so"}
)

// explain returns the error to end the stream with after one in reading line n;
// nil if the client has ended the stream, errClientLeft if it has gone.
func (st *stream) explain(err error, n int) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case st.stopping.Err() != nil:
		return errStopping
	case errors.Is(err, errNoMemory):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && st.lines.partial():
		return statusError{http.StatusRequestTimeout, fmt.Sprintf("the rest of line %d has not come within %v", n, maxStall)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return statusError{http.StatusRequestTimeout, fmt.Sprintf("no event has come for %v; open another stream to send more", maxIdle)}
	}
	return errClientLeft
}

// write writes results in the order of the events until reading has ended and all
// events are answered, or until one group fails.
func (st *stream) write() error {
	for {
		g, ok, err := receive(st, st.groups)
		if err != nil {
			return err
		}
		if !ok {
			return st.writeEnd(st.end)
		}
		stored, failed := []sequencer.Result(nil), g.err
		if g.pending != nil {
			if _, _, err := receive(st, g.pending.Done()); err != nil {
				return err
			}
			stored, failed = g.pending.Results()
		}
		if failed != nil {
			return st.writeEnd(failed)
		}
		if err := st.writeResults(g.items, stored); err != nil {
			return err
		}
		st.memory.give(g.memory)
	}
}

// receive receives from a channel. If it has to wait, it first sends the client the
// results that are buffered, and then a heartbeat now and then. So results are
// flushed when no more are ready, not one by one.
func receive[T any](st *stream, from <-chan T) (v T, ok bool, err error) {
	select {
	case v, ok = <-from:
		return v, ok, nil
	default:
	}
	if err := st.flush(); err != nil {
		return v, false, err
	}
	for {
		select {
		case v, ok = <-from:
			return v, ok, nil
		case now := <-st.beat.C:
			fmt.Fprintf(st.out, `{"heartbeat":%q}`+"\n", now.UTC().Format(time.RFC3339))
			if err := st.flush(); err != nil {
				return v, false, err
			}
		}
	}
}

// writeResults writes a line for each item. It flushes before the buffer would, so
// that every write to the connection has a deadline of its own.
func (st *stream) writeResults(items []event.Item, stored []sequencer.Result) error {
	st.results = outcomes(st.results[:0], items, stored)
	st.conceal(st.results)
	for i := range st.results {
		st.results[i].item = -1
		line := append(st.results[i].appendObject(st.out.AvailableBuffer()), '\n')
		if len(line) > st.out.Available() {
			if err := st.flush(); err != nil {
				return err
			}
		}
		if _, err := st.out.Write(line); err != nil {
			return errClientLeft
		}
	}
	return nil
}

// writeEnd ends the stream, with a line that gives the reason if it was not the
// client's decision.
func (st *stream) writeEnd(why error) error {
	broken := errors.Is(why, errClientLeft)
	if broken {
		// Only its sending may have ended: it is owed the results of what was stored.
		why = badRequest("the body of the request broke off; what came before is answered")
	}
	if why != nil {
		p, _ := problemOf(why)
		st.refused(why)
		_, _ = st.out.Write(append(append([]byte(`{"end":`), appendJSON(nil, p)...), "}\n"...))
	}
	if err := st.flush(); err != nil || !broken {
		return err
	}
	return errClientLeft
}

// flush sends what is buffered, and gives the client maxStall to take it.
func (st *stream) flush() error {
	_ = st.control.SetWriteDeadline(time.Now().Add(maxStall)) // if it fails so does writing
	if st.out.Flush() != nil || st.control.Flush() != nil {
		return errClientLeft
	}
	return nil
}
